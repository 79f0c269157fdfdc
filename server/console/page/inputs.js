// What is to be asked: pictures, pose and options, as they stand in the form.

import { byId, make } from "./dom.js";

export const PARTS = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"];
const UNITS = ["m", "m", "m", "rad", "rad", "rad", "0…1"];
const HOME = [0.45, 0, 0.15, 0, 0, 0, 0];
const WHOLE = ["samples", "iterations", "horizon", "seed"];
const KINDS = ["image/png", "image/jpeg"];

export class Inputs extends EventTarget {
  constructor() {
    super();
    this.observation = [];
    this.goal = [];
    byId("pose-numbers").replaceChildren(...PARTS.map(numberField));
    this.pose = HOME;
    this.#drop("observation", false);
    this.#drop("goal", true);
    byId("pose").addEventListener("paste", (event) => this.#paste(event));
    byId("request").addEventListener("input", () => this.#changed());
  }

  get pose() { return PARTS.map((part) => numberOf(byId(`pose-${part}`).value.replace(",", "."))); }
  set pose(values) { PARTS.forEach((part, i) => { byId(`pose-${part}`).value = String(values[i]); }); }

  get subGoal() { return this.goal.length > 1 ? Number(byId("sub-goal").value) : undefined; }

  get options() {
    const options = { preset: byId("preset").value || undefined, budget_ms: numberIn("budget_ms") };
    for (const name of WHOLE) options[name] = numberIn(name);
    if (byId("dry_run").checked) options.dry_run = true;
    return options;
  }

  get deadline() { return numberIn("deadline_ms"); }

  // The JSON part of a plan request; undefined fields vanish when it is written.
  get fields() {
    return { observation: { pose: this.pose }, sub_goal: this.subGoal, options: this.options, deadline_ms: this.deadline };
  }

  // Puts pictures in the form. They are read once, now: what is shown is what is sent, whatever becomes of the files.
  async use(name, files) {
    const zone = byId(`${name}-drop`);
    const chosen = name === "observation" ? files.slice(0, 1) : files;
    this[name] = chosen;
    zone.classList.toggle("filled", chosen.length > 0);
    if (name === "goal") this.#showSubGoals();
    this.#changed();
    const read = await Promise.all(chosen.map(copyOf)).catch(() => null);
    if (this[name] !== chosen) return;
    if (read) {
      this[name] = read;
      zone.querySelector(".pictures").replaceChildren(...read.map((file, i) => preview(file, name, i)));
    } else {
      this.use(name, []);
      this.#refuse(`${chosen.map((file) => file.name).join(", ")} cannot be read.`);
    }
  }

  #drop(name, several) {
    const zone = byId(`${name}-drop`);
    const input = byId(name);
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = ""; // else the same file, chosen again, would be no change
      this.use(name, files);
    });
    for (const kind of ["dragenter", "dragover"]) {
      zone.addEventListener(kind, (event) => { event.preventDefault(); zone.classList.add("over"); });
    }
    for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      const files = [...event.dataTransfer.files].filter((file) => KINDS.includes(file.type));
      if (files.length) this.use(name, several ? files : files.slice(0, 1));
      else this.#refuse("Only PNG and JPEG pictures can be used.");
    });
  }

  #paste(event) {
    const text = event.clipboardData.getData("text").replaceAll("−", "-").replace(/(dtype|device)=[^,)]*/g, "");
    const numbers = text.match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/gi);
    if (numbers?.length !== PARTS.length) return;
    event.preventDefault();
    this.pose = numbers.map(Number);
    this.#changed();
  }

  #showSubGoals() {
    byId("sub-goal-line").hidden = this.goal.length < 2;
    byId("sub-goal").replaceChildren(...this.goal.map((_, i) => make("option", { value: i }, `${i + 1} of ${this.goal.length}`)));
  }

  #changed() { this.dispatchEvent(new Event("change")); }

  #refuse(detail) { this.dispatchEvent(new CustomEvent("refused", { detail })); }
}

// The element of the form that a problem's field means.
export function elementOf(field) {
  for (let name = field; name; name = name.replace(/(\.[^.[]*|\[\d+\]|^[^.[]+)$/, "")) {
    const found = document.querySelector(`[data-field="${CSS.escape(name)}"]`);
    if (found) return found;
  }
  return null;
}

function numberField(part, i) {
  return make("label", {}, part, " ", make("span", { class: "unit" }, UNITS[i]),
    make("input", { id: `pose-${part}`, inputmode: "decimal", "aria-describedby": "pose-hint" }));
}

function numberIn(id) { return numberOf(byId(id).value); }

// The number that was typed, undefined for nothing, and the text itself where it is no number, or a whole one that would
// be rounded here: the service says why not.
function numberOf(typed) {
  const text = typed.trim().replaceAll("−", "-");
  if (text === "") return undefined;
  const number = Number(text);
  const isExact = Number.isFinite(number) && (Number.isSafeInteger(number) || !Number.isInteger(number));
  return isExact ? number : text;
}

async function copyOf(file) { return new File([await file.arrayBuffer()], file.name, { type: file.type }); }

function preview(file, name, i) {
  const image = make("img", { alt: name === "goal" ? `Goal ${i + 1}: ${file.name}` : `Observation: ${file.name}` });
  const reader = new FileReader();
  reader.addEventListener("load", () => { image.src = reader.result; });
  reader.readAsDataURL(file);
  return image;
}
