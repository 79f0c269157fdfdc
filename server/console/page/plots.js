// Pictures of plans, drawn as SVG to scale. Colours come from the style sheet.

import { drawing, fixed, resolving, significant, svg } from "./dom.js";

const WIDE = 340;
const HIGH = 260;
const EDGE = { left: 44, right: 14, top: 14, bottom: 36 };

// One view of the hand's path. `across` and `up` are { part, name, flip }: which number of a pose, and which way it grows.
export function pathPlot(label, poses, wanted, across, up) {
  const points = [...poses, ...wanted];
  const frame = equalFrame(points, across, up);
  const line = (path, kind) => svg("polyline", { class: kind, points: path.map((pose) => frame.at(pose).join(",")).join(" ") });
  const dots = poses.map((pose, i) => {
    const [x, y] = frame.at(pose);
    const dot = i === 0
      ? svg("circle", { class: "start", cx: x, cy: y, r: 6 })
      : svg("circle", { class: "target", cx: x, cy: y, r: 5, "fill-opacity": 0.25 + 0.75 * pose[6] });
    dot.append(svg("title", {}, `${i === 0 ? "now" : `target ${i}`}: ${pose.slice(0, 3).map((v) => fixed(v, 3)).join(", ")} m, gripper ${fixed(pose[6], 2)}`));
    return dot;
  });
  return drawing(WIDE, HIGH, label, ...frame.grid, line(wanted, "wanted"), line(poses, "path"), ...dots);
}

// Numbers over iterations, with a level to compare with.
export function tracePlot(trace, level, levelName) {
  const known = level === undefined ? trace : [...trace, level];
  const [low, high] = widened(Math.min(...known), Math.max(...known));
  const x = (i) => EDGE.left + (trace.length < 2 ? 0.5 : i / (trace.length - 1)) * (WIDE - EDGE.left - EDGE.right);
  const y = (value) => HIGH - EDGE.bottom - ((value - low) / (high - low)) * (HIGH - EDGE.top - EDGE.bottom);
  const grid = ticks(low, high, 4).map((value) => [
    svg("line", { class: "grid", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(value), y2: y(value) }),
    svg("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, resolving(value, high - low)),
  ]).flat();
  const step = Math.ceil(trace.length / 8);
  const names = trace.map((_, i) => i % step ? null : svg("text", { x: x(i), y: HIGH - EDGE.bottom + 16, "text-anchor": "middle" }, String(i + 1)));
  const parts = [...grid, ...names.filter(Boolean), axisName("iteration")];
  if (level !== undefined) {
    parts.push(svg("line", { class: "level", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(level), y2: y(level) }),
      svg("text", { class: "note", x: WIDE - EDGE.right, y: y(level) + (y(level) < 30 ? 14 : -5), "text-anchor": "end" }, levelName));
  }
  parts.push(svg("polyline", { class: "path", points: trace.map((value, i) => `${x(i)},${y(value)}`).join(" ") }));
  parts.push(...trace.map((value, i) => svg("circle", { class: "value", cx: x(i), cy: y(value), r: 3.5 },
    svg("title", {}, `iteration ${i + 1}: ${significant(value, 5)}`))));
  const words = `Best cost from ${significant(trace[0])} to ${significant(trace.at(-1))} in ${trace.length} iterations`;
  return drawing(WIDE, HIGH, words, ...parts);
}

// How closed the gripper is, now and after each step.
export function gripperStrip(closedness) {
  const wide = 720 / closedness.length;
  const high = 46;
  const cells = closedness.flatMap((value, i) => [
    svg("rect", { class: "empty", x: i * wide + 2, y: 0, width: wide - 4, height: high, rx: 4 }),
    svg("rect", { class: "closed", x: i * wide + 2, y: high * (1 - value), width: wide - 4, height: high * value, rx: 4 }),
    svg("text", { x: (i + 0.5) * wide, y: high + 16, "text-anchor": "middle" }, `${i === 0 ? "now" : i} · ${fixed(value, 2)}`),
  ]);
  return drawing(720, high + 22, `Gripper closedness: ${closedness.map((value) => fixed(value, 2)).join(", ")}`, ...cells);
}

// Energies over a square of moves; `moves` are the same along both sides [m], `values[row][column]` belongs to up, across.
// With `flip`, across grows to the left, as y does when one looks along x.
export function heatMap(moves, values, names, flip, marks) {
  const side = 300;
  const cell = side / moves.length;
  const flat = values.flat();
  const [low, high] = [Math.min(...flat), Math.max(...flat)];
  const shade = (value) => (high > low ? (value - low) / (high - low) : 1);
  const column = (c) => (flip ? moves.length - 1 - c : c);
  const place = (value) => ((value - moves[0]) / (moves.at(-1) - moves[0])) * (side - cell) + cell / 2;
  const [left, top] = [EDGE.left, EDGE.top];
  const beside = (value) => left + place(flip ? -value : value);
  const parts = values.flatMap((row, r) => row.map((value, c) => svg("rect", {
    x: left + column(c) * cell, y: top + side - (r + 1) * cell, width: cell + 0.4, height: cell + 0.4, fill: colour(shade(value)),
  }, svg("title", {}, `${names[0]} ${fixed(100 * moves[c], 1)} cm, ${names[1]} ${fixed(100 * moves[r], 1)} cm: ${resolving(value, high - low)}`))));
  for (const value of [moves[0], 0, moves.at(-1)]) {
    const text = fixed(100 * value, 1);
    parts.push(svg("text", { x: beside(value), y: top + side + 16, "text-anchor": "middle" }, text),
      svg("text", { x: left - 6, y: top + side - place(value) + 4, "text-anchor": "end" }, text));
  }
  for (const { kind, at, title } of marks) {
    const [x, y] = [beside(at[0]), top + side - place(at[1])];
    parts.push(svg("g", { class: `mark ${kind}` }, MARKS[kind](x, y), svg("title", {}, title)));
  }
  parts.push(svg("text", { x: left + side / 2, y: top + side + 32, "text-anchor": "middle" }, `${names[0]} [cm]`),
    svg("text", { x: 12, y: top + side / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${top + side / 2})` }, `${names[1]} [cm]`));
  parts.push(...Array.from({ length: 30 }, (_, i) => svg("rect", { x: left + side + 18, y: top + (29 - i) * side / 30, width: 12, height: side / 30 + 0.4, fill: colour(i / 29) })));
  parts.push(svg("text", { x: left + side + 36, y: top + 10 }, resolving(high, high - low)), svg("text", { x: left + side + 36, y: top + side }, resolving(low, high - low)));
  return drawing(left + side + 92, top + side + 42, `Energies from ${resolving(low, high - low)} to ${resolving(high, high - low)}`, ...parts);
}

const MARKS = {
  idle: (x, y) => svg("path", { d: `M${x - 6} ${y}h12M${x} ${y - 6}v12` }),
  lowest: (x, y) => svg("circle", { cx: x, cy: y, r: 7 }),
  planned: (x, y) => svg("path", { d: `M${x} ${y - 7}l7 7l-7 7l-7 -7z` }),
};

const SCALE = [[22, 52, 70], [27, 98, 110], [66, 146, 133], [148, 192, 160], [228, 228, 198], [250, 246, 235]];

function colour(share) {
  const at = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const i = Math.min(Math.floor(at), SCALE.length - 2);
  return `rgb(${SCALE[i].map((from, k) => Math.round(from + (SCALE[i + 1][k] - from) * (at - i))).join(" ")})`;
}

// Axes on which a centimetre is as long across as up, around all points.
function equalFrame(points, across, up) {
  const [wide, high] = [WIDE - EDGE.left - EDGE.right, HIGH - EDGE.top - EDGE.bottom];
  const spans = [across, up].map(({ part }) => {
    const values = points.map((pose) => pose[part]);
    return [Math.min(...values), Math.max(...values)];
  });
  const metres = Math.max(0.06, (spans[0][1] - spans[0][0]) * 1.25, ((spans[1][1] - spans[1][0]) * 1.25 * wide) / high);
  const scale = wide / metres;
  const middles = spans.map(([low, least]) => (low + least) / 2);
  const x = (value) => EDGE.left + wide / 2 + (across.flip ? -1 : 1) * (value - middles[0]) * scale;
  const y = (value) => EDGE.top + high / 2 - (value - middles[1]) * scale;
  const half = [metres / 2, (metres * high) / wide / 2];
  const grid = [
    ...ticks(middles[0] - half[0], middles[0] + half[0], 4).flatMap((value) => [
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: EDGE.top, y2: HIGH - EDGE.bottom }),
      svg("text", { x: x(value), y: HIGH - EDGE.bottom + 16, "text-anchor": "middle" }, significant(value)),
    ]),
    ...ticks(middles[1] - half[1], middles[1] + half[1], 4).flatMap((value) => [
      svg("line", { class: "grid", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(value), y2: y(value) }),
      svg("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, significant(value)),
    ]),
    axisName(`${across.name} [m]`),
    svg("text", { x: 10, y: 12 + EDGE.top }, `${up.name} [m]`),
  ];
  return { grid, at: (pose) => [x(pose[across.part]), y(pose[up.part])] };
}

function axisName(text) {
  return svg("text", { class: "axis", x: (WIDE + EDGE.left - EDGE.right) / 2, y: HIGH - 4, "text-anchor": "middle" }, text);
}

function widened(low, high) {
  const more = (high - low || Math.abs(high) || 1) * 0.12;
  return [low - more, high + more];
}

// Round numbers between two ends, about `count` of them.
function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((each) => each * power >= raw) * power;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(Number((i * step).toPrecision(10)));
  return found;
}
