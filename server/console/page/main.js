// The console: what is in the form is asked of the service, and what it answers is shown.

import { Problem, ask, currentToken, useToken } from "./api.js";
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
let first = null; // the first move of the plan on show, if it is of the pictures in the form
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
    const found = await ask("/v1/plan", { method: "POST", body: formOf(inputs.fields, ["observation", "goal"]), signal });
    show(found, pose);
  });
}

function show(found, pose) {
  first = found.wanted[0];
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
    say(`The energy of ${candidates.length} moves.`);
  });
}

// --- sessions -------------------------------------------------------------------------------------------------------

let known = 0;

async function showSessions() {
  if (!status.sessions && !known) return;
  try {
    const { sessions } = await ask("/v1/sessions");
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
    else say(`No plan: the session is ${answer.status}. The robot stays where it is.`);
    await showSessions();
  });
}

function close(id) {
  return during("Closing…", async (signal) => {
    await ask(`/v1/sessions/${id}`, { method: "DELETE", signal });
    say("The session is closed.");
    await showSessions();
  });
}

// --- problems -------------------------------------------------------------------------------------------------------

function showProblem(error) {
  say("");
  const problem = error instanceof Problem ? error : { code: "console", detail: String(error) };
  const facts = [problem.code, problem.retry_after_s && `again in ${problem.retry_after_s} s`, problem.request_id && `request ${problem.request_id}`];
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

async function fileOf(name) {
  const response = await fetch(`/console/samples/${name}`);
  const blob = await response.blob();
  return new File([blob], name, { type: blob.type });
}

async function offerSamples() {
  const samples = await (await fetch("/console/samples/samples.json")).json();
  byId("sample").append(...samples.map(({ title }, i) => make("option", { value: i }, title)));
  byId("sample").addEventListener("change", async () => {
    const sample = samples[byId("sample").value];
    if (!sample) return;
    inputs.use("observation", [await fileOf(sample.observation)]);
    inputs.use("goal", await Promise.all(sample.goal.map(fileOf)));
    inputs.pose = sample.pose;
    showCode();
    say("The sample is in the form.");
  });
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
    say("The browser does not allow copying here; the text is selected instead.");
  }
}

async function greet() {
  try {
    info = await ask("/v1/info");
    const { models } = await ask("/v1/models");
    byId("model").textContent = models.map(({ name, version }) => `${name} ${version}`).join(", ");
    if (byId("preset").options.length) return;
    byId("preset").append(make("option", { value: "" }, "as the service"), ...info.presets.map((name) => make("option", { value: name }, name)));
  } catch (error) {
    if (error.code !== "unauthenticated") showProblem(error);
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
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); plan(); }
  if (event.key === "Escape") asking?.abort();
});
for (const each of document.querySelectorAll("[name=language]")) each.addEventListener("change", showCode);
inputs.addEventListener("change", () => { first = null; showCode(); });
inputs.addEventListener("refused", (event) => showProblem(new Problem({ code: "console", detail: event.detail })));
// A picture that misses its place must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
status.addEventListener("ready", greet);
status.addEventListener("look", showSessions);

showCode();
offerSamples();
status.watch();
