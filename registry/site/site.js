// The index: search, filters and order over the rows of the page, with all of it kept in the address.
// The entry pages: whatever is folded opens for the printer.
"use strict";

// Rows that compare as equal stay in the order of their names.
const ORDERS = {
  "match": (a, b) => b.called - a.called,
  "name": () => 0,
  "cases": (a, b) => unknownLast(a.cases, b.cases, -1),
  "cases-up": (a, b) => unknownLast(a.cases, b.cases, 1),
  "year": (a, b) => unknownLast(a.year, b.year, -1),
  "year-up": (a, b) => unknownLast(a.year, b.year, 1),
};

function unknownLast(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  return direction * (a - b);
}

// The same as `searchable` in index_page.py.
function searchable(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^0-9a-z]+/g, " ").trim();
}

// A word of up to three letters has to begin a word ("ct" is not in "structure"); a longer one may stand anywhere.
// Texts begin with a blank.
function holds(text, word) {
  return text.includes(word.length <= 3 ? " " + word : word);
}

class Finder {
  constructor({ entries, facets }) {
    this.facets = facets;
    this.entries = entries.map((entry, place) => ({
      ...entry,
      place,
      names: " " + entry.names,
      text: " " + entry.text,
      row: document.getElementById(entry.id),
    }));
    this.query = document.getElementById("query");
    this.sort = document.getElementById("sort");
    this.bestMatch = this.sort.querySelector("[value=match]");
    this.wantedOrder = "";
    this.boxes = [...document.querySelectorAll("#filters input")].map((box) => ({
      box,
      facet: box.name,
      word: box.value,
      label: box.closest("label"),
      count: box.closest("label").querySelector(".count"),
    }));
  }

  start() {
    this.readAddress();
    document.getElementById("search").addEventListener("submit", (event) => event.preventDefault());
    this.query.addEventListener("input", () => this.changed());
    this.sort.addEventListener("change", () => {
      this.wantedOrder = this.sort.value === this.usualOrder() ? "" : this.sort.value;
      this.changed();
    });
    document.getElementById("filters").addEventListener("change", () => this.changed());
    document.getElementById("active").addEventListener("click", (event) => this.removeFilter(event));
    document.querySelectorAll("button.more").forEach((button) => button.addEventListener("click", () => {
      const choices = button.previousElementSibling;
      choices.classList.add("all");
      button.remove();
      choices.querySelector(".beyond input").focus();
    }));
    document.querySelector("button.skip").addEventListener("click", () => document.querySelector("#entries tr:not([hidden]) a")?.focus());
    window.addEventListener("hashchange", () => this.readAddress());
    document.addEventListener("keydown", (event) => this.key(event));
    const narrow = window.matchMedia("(max-width: 859px)");
    const fold = () => { document.querySelector(".all-filters").open = !narrow.matches; };
    narrow.addEventListener("change", fold);
    fold();
  }

  // What somebody searches for comes by best match, until another order is chosen.
  usualOrder() {
    return this.query.value.trim() ? "match" : "name";
  }

  changed() {
    this.writeAddress();
    this.show();
  }

  chosen() {
    const chosen = new Map();
    for (const { box, facet, word } of this.boxes) {
      if (box.checked) chosen.set(facet, (chosen.get(facet) ?? new Set()).add(word));
    }
    return chosen;
  }

  readAddress() {
    const state = new URLSearchParams(location.hash.slice(1));
    this.query.value = state.get("q") ?? "";
    this.wantedOrder = state.get("sort") in ORDERS ? state.get("sort") : "";
    for (const { box, facet, word } of this.boxes) {
      box.checked = state.getAll(facet).includes(word);
      if (box.checked) box.closest("details").open = true;
    }
    this.show();
  }

  writeAddress() {
    const state = new URLSearchParams();
    if (this.query.value.trim()) state.set("q", this.query.value.trim());
    for (const [facet, words] of this.chosen()) words.forEach((word) => state.append(facet, word));
    if (this.wantedOrder) state.set("sort", this.wantedOrder);
    history.replaceState(null, "", "#" + state);
  }

  // One pass: an entry that misses one filter alone still counts for the other words of that filter.
  show() {
    const chosen = [...this.chosen()];
    const words = this.query.value.split(/\s+/).map(searchable).filter(Boolean);
    const counts = new Map(this.facets.map(({ name }) => [name, new Map()]));
    const found = [];
    for (const entry of this.entries) {
      const misses = chosen.filter(([facet, wanted]) => !entry.facets[facet].some((word) => wanted.has(word)));
      const meets = words.every((word) => holds(entry.names, word) || holds(entry.text, word));
      entry.row.hidden = !meets || misses.length > 0;
      if (!meets || misses.length > 1) continue;
      if (!misses.length) found.push(entry);
      entry.called = words.every((word) => holds(entry.names, word));
      for (const { name } of misses.length ? [{ name: misses[0][0] }] : this.facets) {
        const tally = counts.get(name);
        for (const word of entry.facets[name]) tally.set(word, (tally.get(word) ?? 0) + 1);
      }
    }
    this.order(found);
    this.showCounts(counts);
    this.showTotals(found, chosen);
  }

  // The box always shows the order of the rows. Best match: what is called by the words, then what only speaks of them.
  order(found) {
    this.bestMatch.hidden = this.bestMatch.disabled = this.usualOrder() !== "match";
    this.sort.value = (this.wantedOrder !== "match" && this.wantedOrder) || this.usualOrder();
    const compare = ORDERS[this.sort.value];
    found.sort((a, b) => compare(a, b) || a.place - b.place);
    const order = found.map(({ id }) => id).join(" ");
    if (order === this.shownOrder) return;
    this.shownOrder = order;
    document.querySelector("#entries tbody").append(...found.map(({ row }) => row));
  }

  showCounts(counts) {
    for (const { box, facet, word, label, count } of this.boxes) {
      const number = counts.get(facet).get(word) ?? 0;
      count.textContent = number.toLocaleString("en-GB");
      label.classList.toggle("none", number === 0 && !box.checked);
    }
  }

  showTotals(found, chosen) {
    const number = (value) => value.toLocaleString("en-GB");
    const cases = found.reduce((sum, entry) => sum + (entry.cases ?? 0), 0);
    const silent = found.filter((entry) => entry.cases === null).length;
    const all = this.entries.length;
    const entries = found.length === all ? `${number(all)} entries` : `${number(found.length)} of ${number(all)} entries`;
    const parts = [`${number(cases)} cases`];
    if (silent) parts.push(`${number(silent)} without a number`);
    document.getElementById("totals").replaceChildren(
      element("strong", entries), element("span", found.length ? parts.join(", ") : ""),
      element("span", this.query.value.trim() && `search: ${this.query.value.trim()}`, { className: "on-paper" }));
    document.getElementById("nothing").hidden = found.length > 0;
    document.getElementById("entries").hidden = found.length === 0;
    const buttons = chosen.flatMap(([facet, words]) => [...words].map((word) => this.filterButton(facet, word)));
    if (buttons.length) buttons.push(element("button", "Clear all", { type: "button", className: "clear" }));
    document.getElementById("active").replaceChildren(...buttons);
    document.querySelector(".all-filters > summary .chosen").textContent = buttons.length ? String(buttons.length - 1) : "";
    const sizes = new Map(chosen.map(([facet, words]) => [facet, words.size]));
    document.querySelectorAll(".facet").forEach((facet) => {
      facet.querySelector(".chosen").textContent = sizes.get(facet.dataset.facet) ?? "";
    });
  }

  filterButton(facet, word) {
    const { title, words } = this.facets.find(({ name }) => name === facet);
    const button = element("button", `${title}: ${words[word]}`, { type: "button" });
    button.setAttribute("aria-label", `Remove the filter ${title}: ${words[word]}`);
    button.dataset.facet = facet;
    button.dataset.word = word;
    return button;
  }

  removeFilter(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const { facet, word } = button.dataset;
    for (const choice of this.boxes) {
      if (!facet || (choice.facet === facet && choice.word === word)) choice.box.checked = false;
    }
    this.changed();
    (document.querySelector("#active button") ?? this.query).focus();
  }

  key(event) {
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.query.select();
      this.query.focus();
    }
    if (event.key === "Escape" && event.target === this.query && this.query.value) {
      event.preventDefault();
      this.query.value = "";
      this.changed();
    }
  }
}

function element(name, text, properties = {}) {
  return Object.assign(document.createElement(name), { textContent: text }, properties);
}

const data = document.getElementById("catalog-data");
if (data) new Finder(JSON.parse(data.textContent)).start();

let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("main details:not([open])")];
  unfolded.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => unfolded.forEach((details) => { details.open = false; }));
