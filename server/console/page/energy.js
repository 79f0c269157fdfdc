// Maps the energy of single moves in a plane through the hand.

import { byId, fixed, make, resolving } from "./dom.js";
import { heatMap } from "./plots.js";

const VIEWS = { xy: { axes: [1, 0], flip: true }, xz: { axes: [0, 2], flip: false }, yz: { axes: [1, 2], flip: true } };
const NAMES = ["Δx", "Δy", "Δz"];

// The moves along one side [m], and the candidates [n·n][1][7] in rows from the lowest up.
export function candidatesOf(plane, count, reach) {
  const moves = Array.from({ length: count }, (_, i) => reach * ((2 * i) / (count - 1) - 1));
  const [across, up] = VIEWS[plane].axes;
  const candidates = moves.flatMap((rise) => moves.map((way) => {
    const action = [0, 0, 0, 0, 0, 0, 0];
    action[across] = way;
    action[up] = rise;
    return [action];
  }));
  return { moves, candidates };
}

export function energyView(plane, moves, answer, first) {
  const values = moves.map((_, row) => answer.energies.slice(row * moves.length, (row + 1) * moves.length));
  const { axes, flip } = VIEWS[plane];
  const names = axes.map((axis) => NAMES[axis]);
  const lowest = answer.energies.indexOf(Math.min(...answer.energies));
  const at = [moves[lowest % moves.length], moves[Math.floor(lowest / moves.length)]];
  const marks = [{ kind: "idle", at: [0, 0], title: "doing nothing" }, { kind: "lowest", at, title: "lowest" }];
  const planned = first && axes.map((axis) => first[axis]);
  const isInside = planned?.every((move) => Math.abs(move) <= moves.at(-1) + 1e-9);
  if (isInside) marks.push({ kind: "planned", at: planned, title: "the plan's first move" });
  const spread = Math.max(...answer.energies) - answer.energies[lowest];
  const words = `Lowest at ${names.map((name, i) => `${name} ${fixed(100 * at[i], 1)} cm`).join(", ")}: ${resolving(answer.energies[lowest], spread)}; `
    + `the observation itself: ${resolving(answer.idle_energy, spread)}. ${moves.length ** 2} moves in ${fixed(answer.timings_ms.total, 0)} ms.`;
  return [
    heatMap(moves, values, names, flip, marks),
    make("ul", { class: "legend" }, make("li", {}, "+ doing nothing"), make("li", {}, "○ lowest"), isInside ? make("li", {}, "◇ the plan's first move") : ""),
    make("p", { class: "quiet" }, words),
  ];
}

export function chosenMap() {
  return { plane: byId("plane").value, count: Number(byId("grid").value) };
}
