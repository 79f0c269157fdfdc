// Readiness and load, asked for again and again while the page is looked at.

import { ask, currentToken, patience, readiness } from "./api.js";
import { byId, drawing, fixed, make, svg } from "./dom.js";

const EVERY_MS = 2000;
const SHORTEST_S = 1.5; // over which a rate is counted: the page looks after each request, too
const KEPT = 40;

export class Status extends EventTarget {
  #rates = [];
  #last = { at: -Infinity, plans: 0 };
  #state = "";
  sessions = 0;

  async watch() {
    for (;;) {
      if (!document.hidden) await this.look();
      await new Promise((resolve) => { setTimeout(resolve, EVERY_MS); });
    }
  }

  async look() {
    try {
      const { ready, reason } = await readiness();
      this.#tell(ready ? "ready" : "not ready", ready ? "good" : "bad", ready ? "" : reason);
      this.#showLoad(numbersOf(await ask("/metrics", { signal: patience() })));
    } catch (error) {
      if (error.code === "unauthenticated") this.#wantToken(error);
      else this.#tell("no answer", "bad", error.message);
    }
    this.dispatchEvent(new Event("look"));
  }

  #wantToken(refusal) {
    if (!byId("access").open) byId("access").open = true;
    byId("model").textContent = currentToken() ? refusal.message : "A token is needed.";
  }

  #tell(text, kind, reason) {
    const state = text + reason;
    if (state === this.#state) return;
    this.#state = state;
    byId("ready").textContent = text;
    byId("ready").className = `pill ${kind}`;
    byId("model").textContent = reason;
    if (kind === "good") this.dispatchEvent(new Event("ready"));
  }

  #showLoad(metrics) {
    this.sessions = metrics.sum("vjepa2_ac_sessions");
    this.#count(metrics.sum("vjepa2_ac_plans_total"));
    const facts = [
      ["waiting", String(metrics.sum("vjepa2_ac_queue_depth"))],
      ["sessions", String(this.sessions)],
      ["memory", `${fixed(metrics.sum("process_resident_memory_bytes") / 2 ** 20, 0)} MiB`],
      ["plans", make("span", {}, `${fixed(this.#rates.at(-1), 1)} /s `, sparkline(this.#rates))],
    ];
    byId("load").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  #count(plans) {
    const at = performance.now();
    const passed_s = (at - this.#last.at) / 1000;
    if (passed_s < SHORTEST_S) return;
    this.#rates = [...this.#rates, Math.max(0, plans - this.#last.plans) / passed_s].slice(-KEPT);
    this.#last = { at, plans };
  }
}

// What Prometheus would read: the sum over all labels of a name.
export function numbersOf(text) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-z_]\w*)(?:\{.*\})? (\S+)/.exec(line);
    if (found) sums.set(found[1], (sums.get(found[1]) ?? 0) + Number(found[2]));
  }
  return { sum: (name) => sums.get(name) ?? 0 };
}

function sparkline(values) {
  const most = Math.max(1, ...values);
  const points = values.map((value, i) => `${60 - (values.length - 1 - i) * (60 / (KEPT - 1))},${15 - (13 * value) / most}`);
  return drawing(60, 16, "Recent plans per second", svg("polyline", { class: "path", points: points.join(" ") }));
}
