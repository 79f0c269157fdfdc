// The open sessions, live; one can be stepped with the observation in the form, and closed.

import { make } from "./dom.js";

export function sessionsView(sessions, { step, close }) {
  if (!sessions.length) return make("p", { class: "hint" }, "No open sessions.");
  const head = ["Session", "Status", "Sub-goal", "Steps", "Expires in", ""].map((name) => make("th", { scope: "col" }, name));
  return make("table", { class: "sessions" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...sessions.map((each) => row(each, step, close))));
}

function row(session, step, close) {
  const short = session.session_id.slice(0, 8);
  return make("tr", { "data-session": session.session_id },
    make("th", { scope: "row", title: session.session_id }, short),
    make("td", {}, make("span", { class: `pill ${session.status === "done" ? "good" : session.status === "timed out" ? "bad" : ""}` }, session.status)),
    make("td", {}, `${Math.min(session.sub_goal + 1, session.sub_goals)} of ${session.sub_goals}`),
    make("td", {}, String(session.steps)),
    make("td", {}, `${Math.round(session.expires_in_s)} s`),
    make("td", { class: "buttons" },
      make("button", { type: "button", "data-key": `step-${short}`, "aria-label": `Step session ${short}`, onclick: () => step(session.session_id) }, "Step"),
      make("button", { type: "button", "data-key": `close-${short}`, "aria-label": `Close session ${short}`, onclick: () => close(session.session_id) }, "Close")));
}
