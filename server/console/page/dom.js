// Elements and numbers in few words.

const SVG = "http://www.w3.org/2000/svg";
let unique = 0;

export const byId = (id) => document.getElementById(id);

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

// A picture with a name and a sentence for those who cannot see it.
export function drawing(width, height, label, ...children) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...children);
}

export function card(title, ...children) {
  const id = `card-${++unique}`;
  return make("section", { class: "card", "aria-labelledby": id }, make("h2", { id }, title), ...children);
}

export function fixed(value, digits) {
  const text = Math.abs(value) < 0.5 * 10 ** -digits ? (0).toFixed(digits) : value.toFixed(digits);
  return text.replace("-", "−");
}

export function signed(value, digits) {
  const text = fixed(value, digits);
  return text.startsWith("−") || Number(text) === 0 ? text : `+${text}`;
}

export function significant(value, digits = 3) {
  if (value === 0) return "0";
  return Number(value.toPrecision(digits)).toString().replace("-", "−");
}

// A number with as many digits as tell `spread` apart.
export function resolving(value, spread) {
  return fixed(value, spread > 0 ? Math.min(Math.max(0, 2 - Math.floor(Math.log10(spread))), 8) : 3);
}
