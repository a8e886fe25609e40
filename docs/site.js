// Tables that sort by a click, and the gate that the page "Inside the gate" computes.
"use strict";

document.querySelector(".md-search")?.setAttribute("aria-label", "Search");

// The theme wraps wide tables and buttons of code blocks when they are met: the first scroll by keyboard, too, and the
// others are no landmarks.
function reachable() {
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])").forEach((wrap) => (wrap.tabIndex = 0));
  document.querySelectorAll("nav.md-code__nav:not([role])").forEach((nav) => nav.setAttribute("role", "none"));
}
new MutationObserver(reachable).observe(document.body, { childList: true, subtree: true });
reachable();

function value(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/,/g, ""));
  return /^-?[\d.,]+( %)?$/.test(text) ? number : text;
}

function sortBy(table, column, descending) {
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const [x, y] = [value(a.cells[column]), value(b.cells[column])];
    if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1; // what is not known stands last
    const order = typeof x === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true });
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll(".sortable table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
  });
}

const linear = (weight, bias, x) => weight.map((row, i) => row.reduce((sum, w, j) => sum + w * x[j], bias[i]));

// sigmoid(W2 relu(W1 z + b1) + b2)
function excite(gate, means) {
  const hidden = linear(gate.weights[0], gate.biases[0], means).map((x) => Math.max(0, x));
  const gates = linear(gate.weights[1], gate.biases[1], hidden).map((x) => 1 / (1 + Math.exp(-x)));
  return { hidden, gates };
}

function bars(title, values, most) {
  const width = 512 / values.length;
  const top = Math.max(most, ...values);
  const drawn = values
    .map((x, i) => `<rect x="${i * width}" y="${90 - (88 * Math.max(0, x)) / top}" width="${Math.max(1, width - 0.5)}"
      height="${(88 * Math.max(0, x)) / top}"><title>${i}: ${x.toFixed(3)}</title></rect>`)
    .join("");
  const range = `${Math.min(...values).toFixed(3)} to ${Math.max(...values).toFixed(3)}`;
  return `<h3>${title}</h3><svg viewBox="0 0 512 90" preserveAspectRatio="none" role="img"
    aria-label="${title}: ${range}">${drawn}</svg><p>${range}</p>`;
}

const data = document.getElementById("one-gate");
if (data) {
  const gate = JSON.parse(data.textContent);
  const place = document.querySelector(".one-gate");
  const names = Object.keys(gate.means);
  place.innerHTML = `<label>picture <select>${names.map((name) => `<option>${name}</option>`).join("")}</select></label>
    <label>times the mean of channel <input type="number" min="0" max="${gate.biases[1].length - 1}" value="0"></label>
    <label>factor <input type="range" min="0" max="8" step="0.1" value="1"> <output>1</output></label><div></div>`;
  const [select, channel, factor] = place.querySelectorAll("select, input");
  const show = () => {
    const means = [...gate.means[select.value]];
    const chosen = Math.min(means.length - 1, Math.max(0, Number(channel.value) || 0));
    means[chosen] *= Number(factor.value);
    place.querySelector("output").textContent = factor.value;
    const { hidden, gates } = excite(gate, means);
    place.querySelector("div").innerHTML =
      bars(`${means.length} means: the squeeze`, means, 0.01) +
      bars(`${hidden.length} hidden units: first layer, ReLU`, hidden, 0.01) +
      bars(`${gates.length} gates: second layer, sigmoid`, gates, 1);
  };
  place.addEventListener("input", show);
  show();
}
