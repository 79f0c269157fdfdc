// Shows a plan: what to do, where it leads, and how far it can be trusted.

import { card, fixed, make, signed, significant } from "./dom.js";
import { PARTS } from "./inputs.js";
import { gripperStrip, pathPlot, tracePlot } from "./plots.js";

const TOP = [{ part: 1, name: "← y", flip: true }, { part: 0, name: "x ↑" }];
const SIDE = [{ part: 0, name: "x →" }, { part: 2, name: "z ↑" }];
const STAGES = ["queue", "decode", "goal", "encode", "search", "safety"];
const STOPS = {
  converged: "The search converged.",
  iterations: "The search used all its iterations.",
  deadline: "The deadline ended the search; this is the best plan found by then.",
};

export function planView(plan, pose) {
  const poses = [pose, ...plan.targets];
  return [
    summary(plan),
    warnings(plan),
    make("div", { class: "pair" },
      card("From above", pathPlot(`Path from above, ${plan.targets.length} targets`, poses, wantedPath(pose, plan.wanted), ...TOP)),
      card("From the side", pathPlot("Path from the side", poses, wantedPath(pose, plan.wanted), ...SIDE))),
    card("Gripper", gripperStrip(poses.map((each) => each[6]))),
    chunk(plan),
    make("div", { class: "pair" },
      card("Cost per iteration", plan.trace.length ? tracePlot(plan.trace, plan.idle_cost, "doing nothing") : make("p", { class: "hint" }, "No iteration was recorded.")),
      card("Confidence", confidence(plan))),
    stages(plan.timings_ms),
  ].filter(Boolean);
}

function summary(plan) {
  const facts = [
    ["Cost", significant(plan.cost, 4)],
    ["Doing nothing", plan.idle_cost === undefined ? "unknown" : significant(plan.idle_cost, 4)],
    ["Found in", `${fixed(plan.timings_ms.total, 0)} ms`],
    ["Candidates", plan.evaluations.toLocaleString("en")],
    ["Seed", String(plan.seed)],
  ];
  const flags = [
    plan.confidence.goal_reached && make("span", { class: "pill good" }, "goal reached"),
    plan.confidence.goal_out_of_reach && make("span", { class: "pill bad" }, "goal out of reach"),
    plan.confidence.view_unfamiliar && make("span", { class: "pill bad" }, "view unfamiliar"),
    plan.dry_run && make("span", { class: "pill" }, "dry run"),
  ].filter(Boolean);
  return make("section", { class: "card", "aria-labelledby": "plan-title" },
    make("div", { class: "title" }, make("h2", { id: "plan-title" }, "Plan"), ...flags),
    make("dl", { class: "facts" }, ...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
    make("p", { class: "quiet" }, `${STOPS[plan.stop_reason]} ${plan.model.name} ${plan.model.version} · plan ${plan.plan_id}`));
}

function warnings(plan) {
  const clipped = plan.clipped.map(({ step, part, rule, asked, allowed }) =>
    `Step ${step + 1}: ${part} ${signed(asked, 4)} became ${signed(allowed, 4)} (${rule}).`);
  const all = [...plan.warnings, ...clipped];
  if (!all.length) return null;
  return make("section", { class: "card warning", "aria-label": "Warnings" }, make("h2", {}, all.length === 1 ? "One warning" : `${all.length} warnings`),
    make("ul", {}, ...all.map((each) => make("li", {}, each))));
}

function chunk(plan) {
  const numbers = (values, show) => values.map((value, i) => make("td", {}, show(value, i === 6 ? 2 : 4)));
  const head = (title) => make("th", { colspan: 7, scope: "colgroup" }, title);
  const rows = plan.actions.map((action, i) => make("tr", {}, make("th", { scope: "row" }, String(i + 1)),
    make("td", {}, fixed(i * plan.dt_s, 2)), ...numbers(action, signed), ...numbers(plan.targets[i], fixed)));
  const names = (before) => PARTS.map((part) => make("th", { scope: "col" }, before + part));
  return card("Chunk", make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Chunk, scrolls sideways" },
    make("table", { class: "chunk" },
      make("caption", {}, `Actions ${plan.dt_s} s apart. Metres, radians, closedness 0…1.`),
      make("thead", {}, make("tr", {}, make("td", { colspan: 2 }), head("Action: change of pose"), head("Target: resulting pose")),
        make("tr", {}, make("th", { scope: "col" }, "step"), make("th", { scope: "col" }, "time [s]"), ...names("Δ"), ...names(""))),
      make("tbody", {}, ...rows))));
}

function confidence(plan) {
  const { gain, elite_spread: spread, flatness, gripper_contrast: contrast, goal_uncertainty: unsure, cycle_error: lost } = plan.confidence;
  const rows = [
    ["Gain", `${fixed(100 * gain, 0)} %`, "below the cost of doing nothing", gain],
    ["Elite spread", `${fixed(100 * spread, 2)} cm`, "how far apart the first moves of the elites are", undefined],
    ["Flatness", fixed(flatness, 2), "near 1: moves hardly matter", flatness],
    ["Gripper contrast", fixed(contrast, 2), "how much opening or closing matters", contrast],
  ];
  if (unsure !== undefined) rows.push(["Goal position", `± ${fixed(100 * unsure, 1)} cm`, "how far off the located hand in the goal may be", undefined]);
  if (lost !== undefined) rows.push(["Cycle error", `${fixed(100 * lost, 1)} cm`, "how much the model's ways to the goal and back contradict each other; large in views it does not know", undefined]);
  const failure = plan.failure_probability;  // left out where the service was given no file that tells, or one for another preset's cost
  if (failure !== undefined) rows.push(["Failure", `${fixed(100 * failure, 0)} %`, "chance that this plan's episode will fail", failure]);
  return make("dl", { class: "confidence" }, ...rows.map(([name, value, says, share]) => make("div", {},
    make("dt", {}, name), make("dd", {}, make("b", {}, value),
      share === undefined ? null : make("meter", { min: 0, max: 1, value: Math.min(Math.max(share, 0), 1), "aria-hidden": "true" }),
      make("span", { class: "quiet" }, says)))));
}

function stages(times) {
  const known = STAGES.map((name) => [name, times[name] ?? 0]);
  const rest = times.total - known.reduce((sum, [, value]) => sum + value, 0);
  const all = [...known, ["other", Math.max(0, rest)]];
  const parts = all.map(([name, value]) => {
    const part = make("i", { class: `stage ${name}`, title: `${name}: ${fixed(value, 2)} ms` });
    part.style.flexGrow = String(value);
    return part;
  });
  return card("Where the time went", make("div", { class: "bar", "aria-hidden": "true" }, ...parts),
    make("ul", { class: "legend" }, ...all.map(([name, value]) => make("li", {}, make("i", { class: `stage ${name}` }), `${name} `, make("b", {}, `${fixed(value, 1)} ms`)))));
}

// Where the actions would have led as they were found, before they were made safe. Positions add up.
function wantedPath(pose, wanted) {
  const path = [pose];
  for (const action of wanted) path.push(path.at(-1).map((value, i) => value + action[i]));
  return path;
}
