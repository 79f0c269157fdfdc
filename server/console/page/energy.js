// Maps the energy of single moves in a plane through the hand.

import { byId, fixed, make, significant } from "./dom.js";
import { heatMap } from "./plots.js";

const AXES = { xy: [0, 1], xz: [0, 2], yz: [1, 2] };
const NAMES = ["Δx", "Δy", "Δz"];

// The moves along one side [m], and the candidates [n·n][1][7] in rows from the lowest up.
export function candidatesOf(plane, count, reach) {
  const moves = Array.from({ length: count }, (_, i) => reach * ((2 * i) / (count - 1) - 1));
  const [across, up] = AXES[plane];
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
  const axes = AXES[plane];
  const names = axes.map((axis) => NAMES[axis]);
  const lowest = answer.energies.indexOf(Math.min(...answer.energies));
  const at = [moves[lowest % moves.length], moves[Math.floor(lowest / moves.length)]];
  const marks = [{ kind: "idle", at: [0, 0], title: "doing nothing" }, { kind: "lowest", at, title: "lowest" }];
  if (first) marks.push({ kind: "planned", at: axes.map((axis) => first[axis]), title: "the plan's first move" });
  const words = `Lowest at ${names.map((name, i) => `${name} ${fixed(100 * at[i], 1)} cm`).join(", ")}: ${significant(answer.energies[lowest], 4)}; `
    + `the observation itself: ${significant(answer.idle_energy, 4)}. ${moves.length ** 2} moves in ${fixed(answer.timings_ms.total, 0)} ms.`;
  return [
    heatMap(moves, values, names, marks),
    make("ul", { class: "legend" }, make("li", {}, "+ doing nothing"), make("li", {}, "○ lowest"), first ? make("li", {}, "◇ the plan's first move") : ""),
    make("p", { class: "quiet" }, words),
  ];
}

export function chosenMap() {
  return { plane: byId("plane").value, count: Number(byId("grid").value) };
}
