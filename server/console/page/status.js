// Readiness and load, asked for again and again while the page is looked at.

import { ask, readiness } from "./api.js";
import { byId, drawing, fixed, make, svg } from "./dom.js";

const EVERY_MS = 2000;
const KEPT = 40;

export class Status extends EventTarget {
  #rates = [];
  #last = null;
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
      this.#showLoad(numbersOf(await ask("/metrics")));
    } catch (error) {
      if (error.code === "unauthenticated") this.#wantToken();
      else this.#tell("no answer", "bad", error.message);
    }
    this.dispatchEvent(new Event("look"));
  }

  #wantToken() {
    if (!byId("access").open) byId("access").open = true;
    byId("model").textContent = "A token is needed.";
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
    const now = { at: performance.now(), plans: metrics.sum("vjepa2_ac_plans_total") };
    const rate = this.#last ? Math.max(0, now.plans - this.#last.plans) / ((now.at - this.#last.at) / 1000) : 0;
    this.#last = now;
    this.#rates = [...this.#rates, rate].slice(-KEPT);
    const facts = [
      ["waiting", String(metrics.sum("vjepa2_ac_queue_depth"))],
      ["sessions", String(this.sessions)],
      ["memory", `${fixed(metrics.sum("process_resident_memory_bytes") / 2 ** 20, 0)} MiB`],
      ["plans", make("span", {}, `${fixed(rate, 1)} /s `, sparkline(this.#rates))],
    ];
    byId("load").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
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
  return drawing(60, 16, "Plans a second, lately", svg("polyline", { class: "path", points: points.join(" ") }));
}
