// The console: what is in the form is asked of the service, and what it answers is shown.

import { Problem, ask, currentToken, fileAt, patience, useToken } from "./api.js";
import { curlOf, pythonOf } from "./code.js";
import { byId, make } from "./dom.js";
import { candidatesOf, chosenMap, energyView } from "./energy.js";
import { Inputs, elementOf } from "./inputs.js";
import { planView } from "./plan-view.js";
import { sessionsView } from "./sessions.js";
import { Status } from "./status.js";

const inputs = new Inputs();
const status = new Status();
let info = null;
let revision = 0; // of the form: counts its changes
let first = null; // the first move of the plan on show, if it is of what is in the form
let asking = null;

function say(text) { byId("status").textContent = text; }

// --- asking ---------------------------------------------------------------------------------------------------------

async function during(text, work) {
  if (asking) return;
  asking = new AbortController();
  clearProblem();
  say(text);
  busy(true);
  try {
    await work(asking.signal);
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else showProblem(error);
  } finally {
    asking = null;
    busy(false);
    status.look();
  }
}

function busy(is) {
  for (const id of ["plan", "map", "open-session"]) byId(id).setAttribute("aria-disabled", String(is));
  byId("cancel").hidden = !is;
  document.body.classList.toggle("busy", is);
}

function formOf(fields, names) {
  const form = new FormData();
  form.set("request", JSON.stringify(fields));
  for (const name of names) for (const file of inputs[name]) form.append(name, file);
  return form;
}

function plan() {
  return during("Planning…", async (signal) => {
    const pose = inputs.pose;
    const asked = revision;
    const found = await ask("/v1/plan", { method: "POST", body: formOf(inputs.fields, ["observation", "goal"]), signal });
    show(found, pose);
    first = asked === revision ? found.wanted[0] : null;
  });
}

function show(found, pose) {
  first = null;
  byId("answer").replaceChildren(...planView(found, pose));
  say(`A plan of ${found.actions.length === 1 ? "one move" : `${found.actions.length} moves`}.`);
}

function map() {
  return during("Mapping…", async (signal) => {
    const { plane, count } = chosenMap();
    const { moves, candidates } = candidatesOf(plane, count, info?.limits.step_m ?? 0.05);
    const fields = { observation: { pose: inputs.pose }, sub_goal: inputs.subGoal, candidates };
    const answer = await ask("/v1/energy", { method: "POST", body: formOf(fields, ["observation", "goal"]), signal });
    byId("energy-map").replaceChildren(...energyView(plane, moves, answer, first));
    say(`Mapped the energy of ${candidates.length} moves.`);
  });
}

// --- sessions -------------------------------------------------------------------------------------------------------

let known = 0;

async function showSessions() {
  if (!status.sessions && !known) return;
  try {
    const { sessions } = await ask("/v1/sessions", { signal: patience() });
    if (byId("sessions").querySelector("button:active")) return; // a button that is replaced while held down is not clicked
    known = sessions.length;
    const focused = document.activeElement?.dataset?.key;
    byId("sessions").replaceChildren(sessionsView(sessions, { step, close }));
    if (focused) byId("sessions").querySelector(`[data-key="${focused}"]`)?.focus();
  } catch {
    // the header says already that the service does not answer
  }
}

function openSession() {
  return during("Opening a session…", async (signal) => {
    const opened = await ask("/v1/sessions", { method: "POST", body: formOf({ options: inputs.options }, ["goal"]), signal });
    say(`Session ${opened.session_id.slice(0, 8)} is open. Each step plans from the observation in the form.`);
    known = Math.max(known, 1);
    await showSessions();
  });
}

function step(id) {
  return during("Stepping…", async (signal) => {
    const pose = inputs.pose;
    const fields = { observation: { pose }, deadline_ms: inputs.deadline };
    const answer = await ask(`/v1/sessions/${id}/step`, { method: "POST", body: formOf(fields, ["observation"]), signal });
    if (answer.plan) show(answer.plan, pose);
    else say(`No plan; the session's status is “${answer.status}”. The robot stays where it is.`);
    await showSessions();
  });
}

function close(id) {
  return during("Closing…", async (signal) => {
    await ask(`/v1/sessions/${id}`, { method: "DELETE", signal });
    say("Session closed.");
    await showSessions();
  });
}

// --- problems -------------------------------------------------------------------------------------------------------

function showProblem(error) {
  say("");
  const problem = error instanceof Problem ? error : { code: "console", detail: String(error) };
  const facts = [problem.code, problem.retry_after_s && `retry in ${problem.retry_after_s} s`, problem.request_id && `request ${problem.request_id}`];
  byId("problem").replaceChildren(make("div", { class: "problem" }, make("p", {}, problem.detail ?? problem.message),
    make("p", { class: "quiet" }, facts.filter(Boolean).join(" · "))));
  const element = problem.code === "unauthenticated" ? byId("access") : problem.field && elementOf(problem.field);
  if (element) blame(element);
}

function blame(element) {
  if (element.tagName === "DETAILS") element.open = true;
  element.closest("details")?.setAttribute("open", "");
  element.classList.add("blamed");
  const control = element.matches("input, select") ? element : element.querySelector("input, select");
  control?.setAttribute("aria-invalid", "true");
  control?.focus();
}

function clearProblem() {
  byId("problem").replaceChildren();
  for (const each of document.querySelectorAll(".blamed")) each.classList.remove("blamed");
  for (const each of document.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
}

// --- samples, token, code -------------------------------------------------------------------------------------------

async function offerSamples() {
  const samples = JSON.parse(await (await fileAt("/console/samples/samples.json")).text());
  byId("sample").append(...samples.map(({ title }, i) => make("option", { value: i }, title)));
  byId("sample").addEventListener("change", () => {
    const sample = samples[byId("sample").value];
    take(sample).catch((error) => { if (chosen === sample) showProblem(error); });
  });
}

let chosen = null; // the sample that was chosen last

async function take(sample) {
  chosen = sample;
  if (!sample) return;
  const [observation, ...goal] = await Promise.all([sample.observation, ...sample.goal].map((name) => fileAt(`/console/samples/${name}`)));
  if (chosen !== sample) return;
  clearProblem();
  inputs.pose = sample.pose;
  await Promise.all([inputs.use("observation", [observation]), inputs.use("goal", goal)]);
  say("The sample is loaded.");
}

function showCode() {
  const language = document.querySelector("[name=language]:checked").value;
  byId("code").textContent = language === "curl" ? curlOf(inputs) : pythonOf(inputs);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(byId("code").textContent);
    say("Copied.");
  } catch {
    getSelection().selectAllChildren(byId("code"));
    say("The browser does not allow copying here, so the text is selected instead.");
  }
}

async function greet() {
  try {
    info = await ask("/v1/info");
    const { models } = await ask("/v1/models");
    byId("model").textContent = models.map(({ name, version }) => `${name} ${version}`).join(", ");
    if (byId("preset").options.length) return;
    byId("preset").append(make("option", { value: "" }, "service default"), ...info.presets.map((name) => make("option", { value: name }, name)));
  } catch (error) {
    if (error.code !== "unauthenticated" || currentToken()) showProblem(error);
  }
}

// --- wiring ---------------------------------------------------------------------------------------------------------

byId("request").addEventListener("submit", (event) => { event.preventDefault(); plan(); });
byId("cancel").addEventListener("click", () => asking?.abort());
byId("map").addEventListener("click", map);
byId("open-session").addEventListener("click", openSession);
byId("copy").addEventListener("click", copy);
byId("token").value = currentToken();
byId("token").addEventListener("change", async () => { useToken(byId("token").value); clearProblem(); await greet(); status.look(); showCode(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (document.activeElement === byId("token")) byId("plan").focus(); // a token is taken when its field is left
    plan();
  }
  if (event.key === "Escape") asking?.abort();
});
for (const each of document.querySelectorAll("[name=language]")) each.addEventListener("change", showCode);
inputs.addEventListener("change", () => { revision += 1; first = null; showCode(); });
inputs.addEventListener("refused", (event) => showProblem(new Problem({ code: "console", detail: event.detail })));
// A picture that misses its place must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
status.addEventListener("ready", greet);
status.addEventListener("look", showSessions);

showCode();
offerSamples().catch(showProblem);
status.watch();
