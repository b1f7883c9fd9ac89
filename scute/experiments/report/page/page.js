"use strict";
// What every part of the page uses: the data, elements made from text, numbers for people.

const data = JSON.parse(document.getElementById("data").textContent);

/// An element; "on…" attributes are listeners, children are elements or text. Data reaches the page
/// by this function alone, as text nodes and plain attributes, so it is never read as markup.
function el(tag, attributes, ...children) {
  const out = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) out.addEventListener(name.slice(2), value);
    else out.setAttribute(name, value === true ? "" : String(value));
  }
  out.append(...children.filter((child) => child !== null && child !== undefined));
  return out;
}

function body_of(section) {
  return document.querySelector("#" + section + " .body");
}

function empty(section, text) {
  body_of(section).replaceChildren(el("p", {class: "empty"}, text));
}

const dash = "–";

/// Shortest text with `digits` significant digits; a dash for nothing.
function significant(x, digits = 4) {
  if (typeof x !== "number" || !Number.isFinite(x)) return dash;
  const rounded = Number(x.toPrecision(digits));
  const size = Math.abs(rounded);
  if (size >= 1e7 || (size > 0 && size < 1e-4)) {
    return rounded.toExponential().replace("e+", "e").replace("-", "−");
  }
  return rounded.toLocaleString("en-US", {maximumFractionDigits: 12}).replace("-", "−");
}

function fixed(x, digits) {
  if (typeof x !== "number" || !Number.isFinite(x)) return dash;
  return x.toFixed(digits).replace("-", "−");
}

function whole(n) {
  return typeof n === "number" ? n.toLocaleString("en-US") : dash;
}

function percent(share, digits = 3) {
  return typeof share === "number" ? significant(100 * share, digits) + " %" : dash;
}

function count_of(n, noun) {
  return whole(n) + " " + noun + (n === 1 ? "" : "s");
}

/// Decibels; nothing means that rounding costs nothing at all.
function decibels(x) {
  return typeof x === "number" ? fixed(x, 1) : "exact";
}

function layer_name(layer) {
  return layer < 0 ? "head" : String(layer);
}

/// Text order, but runs of digits by their number.
const natural = new Intl.Collator("en", {numeric: true}).compare;

/// A select with its label; `choices` are [value, text].
function select(label, choices, changed) {
  const box = el("select", {"aria-label": label, onchange: () => changed(box.value)});
  for (const [value, text] of choices) box.append(el("option", {value}, text));
  const out = el("label", {}, el("span", {}, label), box);
  out.hidden = choices.length < 2;
  return {element: out, box};
}

/// A table; `columns` are [title, is text], cells are text or elements.
function table(columns, rows, label) {
  const head = el("tr", {}, ...columns.map(([title, text]) =>
    el("th", {scope: "col", class: text ? "text" : null}, title)));
  const lines = rows.map((row) => el("tr", {}, ...row.map((cell, i) =>
    i === 0 ? el("th", {scope: "row", class: columns[i][1] ? "text" : null}, cell)
            : el("td", {class: columns[i][1] ? "text" : null}, cell))));
  return el("table", {"aria-label": label}, el("thead", {}, head), el("tbody", {}, ...lines));
}

/// A box of its own to scroll in, that the keyboard reaches; while there is more to the right, it
/// says so.
function scroll_box(label, content, high) {
  const box = el("div", {class: high ? "scroll high" : "scroll", tabindex: 0, role: "region",
                         "aria-label": label}, content);
  const more = el("p", {class: "more", hidden: true, "aria-hidden": "true"},
                  "more columns: scroll sideways →");
  const look = () => { more.hidden = box.scrollLeft + box.clientWidth >= box.scrollWidth - 2; };
  box.addEventListener("scroll", look, {passive: true});
  const watch = new ResizeObserver(look);
  watch.observe(box);
  watch.observe(content);
  return el("div", {}, box, more);
}

/// The numbers of a chart as a table, opened on demand; filled when first opened.
function numbers(title, make) {
  const out = el("details", {}, el("summary", {}, title));
  let made = false;
  out.addEventListener("toggle", () => {
    if (!out.open || made) return;
    made = true;
    out.append(scroll_box(title, make(), true));
  });
  return out;
}

function figures(pairs) {
  return el("dl", {class: "figures"}, ...pairs.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
