(function () {
  "use strict";
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const all = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const numbers = (text) => text.split(",").filter(Boolean).flatMap((part) => {
    const [first, last] = part.split("-").map(Number);
    return Array.from({ length: (last || first) - first + 1 }, (_, more) => first + more);
  });
  const said = (template, parts) => template.replace(/\{(\w+)\}/g, (_, name) => parts[name]);
  const index = JSON.parse(byId("index").textContent);
  const articles = all("article.group");
  const resultOf = (article) => article.classList[1];
  const lower = index.names.map((name) => name.toLowerCase());
  const at = new Map(index.names.map((name, position) => [name, position]));
  root.classList.add("js");

  /* Which group a pair is in: of each group, the classes of its sources and destinations. */
  let sides = null;
  function groupSides() {
    sides = sides || index.groups.map((group) => group.map((text) => new Set(numbers(text))));
    return sides;
  }
  function groupOf(source, destination) {
    const from = index.classes[source], to = index.classes[destination];
    return source === destination ? -1 : groupSides().findIndex((side) => side[0].has(from) && side[1].has(to));
  }
  function pairLink(source, destination) {
    return "#pair=" + encodeURIComponent(index.names[source]) + "/" + encodeURIComponent(index.names[destination]);
  }

  /* Filter of matrix and pairs. */
  const filter = byId("filter"), network = byId("network"), results = all("input.result");
  const rows = all(".matrix tbody tr"), heads = all(".matrix thead th").slice(1), bodies = all(".matrix tbody");
  const cells = rows.map((row) => all("td", row)), folded = Boolean(document.querySelector(".matrix [data-groups]"));
  let cellGroups = null, texts = null;
  function prepare() {
    texts = texts || articles.map((article) => all(".path", article).map((path) => path.textContent).join(" ").toLowerCase());
    cellGroups = cellGroups || cells.map((row, i) => row.map((cell, j) => {
      const link = cell.firstElementChild;
      return !link ? [] : link.dataset.groups ? numbers(link.dataset.groups).map((n) => n - 1) : [groupOf(i, j)];
    }));
    groupSides();
  }
  function fitting(words) {
    const onNetwork = (name) => network.value === "" || index.on[name].includes(Number(network.value));
    const words_ = words.map((word) => {
      const networks = new Set(index.networks.flatMap((name, n) => name.toLowerCase().includes(word) ? [n] : []));
      const hit = lower.map((name, n) => name.includes(word) || index.on[n].some((on) => networks.has(on)));
      return { hit: hit, text: texts.map((text) => text.includes(word)), classes: classesOf(hit) };
    });
    const chosen = index.names.map((_, n) => onNetwork(n)), chosenClasses = classesOf(chosen);
    const keys = new Set(results.filter((box) => box.checked).map((box) => box.value));
    const any = (side, classes) => classes.some((number) => side[0].has(number) || side[1].has(number));
    const groups = sides.map((side, g) => keys.has(resultOf(articles[g])) && any(side, chosenClasses) &&
      words_.every((word) => word.text[g] || any(side, word.classes)));
    const pair = (i, j, g) => groups[g] && (chosen[i] || chosen[j]) &&
      words_.every((word) => word.text[g] || word.hit[i] || word.hit[j]);
    return { groups: groups, pair: pair };
  }
  function classesOf(hit) {
    return Array.from(new Set(index.classes.filter((_, name) => hit[name])));
  }
  function hidden(element, value) { if (element.hidden !== value) { element.hidden = value; } }
  function applyFilter() {
    prepare();
    const words = filter.value.toLowerCase().split(/[\s→]+/).filter(Boolean);
    const active = words.length > 0 || network.value !== "" || results.some((box) => !box.checked);
    const fits = fitting(words);
    articles.forEach((article, g) => hidden(article, !fits.groups[g]));
    const shown = fits.groups.filter(Boolean).length;
    byId("filter-count").textContent = active ? said(byId("filter-count").dataset.said, { n: shown, total: articles.length }) : "";
    hidden(byId("none"), shown > 0 || !articles.length);
    const usedColumns = new Set();
    const usedRows = cells.map((row, i) => {
      let used = false;
      row.forEach((cell, j) => {
        const fit = !cellGroups[i][j].length || (folded ? cellGroups[i][j].some((g) => fits.groups[g]) : fits.pair(i, j, cellGroups[i][j][0]));
        cell.classList.toggle("dim", !fit);
        if (fit && cellGroups[i][j].length) { used = true; usedColumns.add(j); }
      });
      return used;
    });
    if (folded) { return; }
    rows.forEach((row, i) => hidden(row, active && !usedRows[i] && !usedColumns.has(i)));
    heads.forEach((head, j) => hidden(head, active && !usedColumns.has(j) && !usedRows[j]));
    cells.forEach((row) => row.forEach((cell, j) => hidden(cell, heads[j].hidden)));
    bodies.forEach((body) => {
      const left = all("tr", body).filter((row) => !row.hidden), label = body.querySelector(".network");
      if (left.length) { left[0].prepend(label); label.rowSpan = left.length; }
    });
    roveMatrix();
  }
  function clearFilter() {
    filter.value = network.value = "";
    results.forEach((box) => { box.checked = true; });
    applyFilter();
  }
  [filter, network, ...results].forEach((control) => control.addEventListener("input", applyFilter));
  (window.requestIdleCallback || setTimeout)(prepare);

  /* Arrow keys within the matrix and the picture: one stop of the tab key each. */
  function rove(links, chosen) {
    links.forEach((link) => link.setAttribute("tabindex", link === chosen ? "0" : "-1"));
  }
  function roveMatrix() {
    const links = all(".matrix td a").filter((link) => !link.parentNode.hidden && !link.closest("tr").hidden);
    if (links.length && !links.some((link) => link.tabIndex === 0)) { rove(all(".matrix td a"), links[0]); }
  }
  const matrix = document.querySelector(".matrix");
  if (matrix) {
    matrix.setAttribute("role", "grid");
    rove(all("td a", matrix), matrix.querySelector("td a"));
    matrix.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0], Home: [0, -Infinity], End: [0, Infinity] }[event.key];
      const cell = event.target.closest("td");
      if (!step || !cell) { return; }
      event.preventDefault();
      const i = rows.indexOf(cell.parentNode), j = cells[i].indexOf(cell), end = step[1] * (cells[i].length - 1);
      const way = Number.isFinite(step[1]) ? step : [0, -Math.sign(step[1])];
      let [y, x] = Number.isFinite(step[1]) ? [i + way[0], j + way[1]] : [i, end > 0 ? cells[i].length - 1 : 0];
      while (cells[y] && cells[y][x] && (rows[y].hidden || cells[y][x].hidden || !cells[y][x].firstElementChild)) { y += way[0]; x += way[1]; }
      const next = cells[y] && cells[y][x] && cells[y][x].firstElementChild;
      if (next) { matrix.querySelectorAll('a[tabindex="0"]').forEach((link) => { link.tabIndex = -1; }); next.tabIndex = 0; next.focus(); }
    });
    matrix.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-groups]");
      if (!link) { return; }
      const chosen = new Set(numbers(link.dataset.groups));
      articles.forEach((article, g) => hidden(article, !chosen.has(g + 1)));
      byId("filter-count").textContent = link.title;
    });
  }

  /* What a container of the picture reaches. */
  const picture = document.querySelector(".topology"), boxes = all(".box[data-at]", picture || root), reach = byId("reach");
  let pinned = null;
  function light(box) {
    boxes.forEach((other) => other.classList.remove("source", "r-reachable", "r-partial", "r-unknown"));
    picture.classList.toggle("lighting", Boolean(box));
    reach.textContent = reach.dataset.hint;
    if (!box) { return; }
    const sources = numbers(box.dataset.at), source = sources[0];
    const of = index.names.map((_, name) => { const g = groupOf(source, name); return g < 0 ? "" : resultOf(articles[g]); });
    boxes.forEach((other) => {
      const inside = numbers(other.dataset.at);
      if (inside.some((name) => sources.includes(name))) { other.classList.add("source"); return; }
      const result = ["reachable", "partial", "unknown"].find((key) => inside.some((name) => of[name] === key));
      if (result) { other.classList.add("r-" + result); }
    });
    const reached = of.filter((key) => key === "reachable" || key === "partial").length;
    reach.textContent = said(reach.dataset.said, { name: index.names[source], n: reached, total: index.names.length - 1 });
  }
  if (boxes.length) {
    picture.setAttribute("role", "group");
    boxes.forEach((box) => { box.setAttribute("role", "button"); box.setAttribute("aria-label", box.querySelector("title").textContent); });
    rove(boxes, boxes[0]);
    picture.addEventListener("pointerover", (event) => { if (!pinned && event.pointerType === "mouse") { light(event.target.closest(".box[data-at]")); } });
    picture.addEventListener("pointerleave", () => light(pinned));
    picture.addEventListener("focusin", (event) => light(event.target.closest(".box[data-at]")));
    picture.addEventListener("focusout", () => light(pinned));
    const pin = (box) => { pinned = pinned === box ? null : box; light(pinned); };
    picture.addEventListener("click", (event) => pin(event.target.closest(".box[data-at]")));
    picture.addEventListener("keydown", (event) => {
      const here = boxes.indexOf(event.target), step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (here < 0) { return; }
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pin(boxes[here]); }
      if (step && boxes[here + step]) { event.preventDefault(); rove(boxes, boxes[here + step]); boxes[here + step].focus(); }
    });
  }

  /* Copying; where there is no clipboard, the text is left selected. */
  function copy(text, button, shown) {
    const done = () => { button.textContent = button.dataset.done; };
    const byHand = () => {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      if (copied) { done(); } else if (shown) { getSelection().selectAllChildren(shown); }
    };
    if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done, byHand); } else { byHand(); }
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) { copy(button.dataset.copy, button, button.parentNode.querySelector("code")); }
  });

  /* Links to pairs, groups and lines. */
  function unlight() {
    all(".lit").forEach((lit) => lit.classList.remove("lit"));
    all(".pair-bar, .excerpt").forEach((added) => added.remove());
  }
  function show(element) {
    for (let box = element.parentElement; box; box = box.parentElement) { if (box.tagName === "DETAILS") { box.open = true; } }
    element.scrollIntoView({ block: "start" });
    requestAnimationFrame(() => element.scrollIntoView({ block: "start" }));
  }
  function excerpt(cite) {
    const link = cite.querySelector("a"), line = link && byId(link.hash.slice(1));
    if (!line) { return; }
    line.classList.add("lit");
    const lines = Array.from(line.parentNode.children), here = lines.indexOf(line), box = document.createElement("div");
    box.className = "evidence excerpt";
    lines.slice(Math.max(0, here - 3), here + 4).forEach((near) => {
      const copied = near.cloneNode(true);
      copied.removeAttribute("id");
      copied.className = near === line ? "cited lit" : "";
      all(".back", copied).forEach((back) => back.remove());
      box.append(copied);
    });
    box.tabIndex = 0;
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", link.textContent);
    cite.after(box);
  }
  function openPair(source, destination, link) {
    const number = groupOf(source, destination);
    if (number < 0) { byId("found").textContent = byId("found").dataset.none; return; }
    byId("found").textContent = "";
    byId("from").value = index.names[source];
    byId("to").value = index.names[destination];
    const article = articles[number];
    if (article.hidden) { clearFilter(); }
    article.classList.add("lit");
    all(".path > details", article).forEach((walk) => { walk.open = true; });
    all(".path > pre", article).forEach(excerpt);
    const bar = byId("pair-bar").content.firstElementChild.cloneNode(true), button = bar.querySelector("button");
    bar.querySelector("b").textContent = index.names[source] + " → " + index.names[destination];
    button.addEventListener("click", () => copy(location.href.split("#")[0] + link, button, null));
    article.querySelector("h3").after(bar);
    const cell = !folded && cells[source][destination];
    if (cell) { cell.classList.add("lit"); }
    show(article);
    article.tabIndex = -1;
    article.focus({ preventScroll: true });
  }
  function named(text) {
    try { return decodeURIComponent(text); } catch (error) { return text; }
  }
  function follow() {
    unlight();
    const hash = location.hash, slash = hash.indexOf("/");
    if (!hash.startsWith("#pair=")) {
      const target = hash.length > 1 && byId(named(hash.slice(1)));
      if (target && target.hidden) { clearFilter(); }
      if (target) { show(target); }
      return;
    }
    const parts = slash > 0 ? [hash.slice(6, slash), hash.slice(slash + 1)].map(named) : named(hash.slice(6)).split("→");
    const places = parts.map((name) => at.get(name));
    const missing = parts.findIndex((_, side) => places[side] === undefined);
    if (parts.length === 2 && missing < 0) { openPair(places[0], places[1], pairLink(places[0], places[1])); return; }
    byId("found").textContent = said(byId("found").dataset.missing, { name: parts[Math.max(0, missing)] });
    show(byId("finder"));
  }
  window.addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) { follow(); }
  });
  const fields = [byId("from"), byId("to")];
  function find() {
    const pair = fields.map((field) => encodeURIComponent(field.value)).join("/");
    if (location.hash === "#pair=" + pair) { follow(); } else { location.hash = "pair=" + pair; }
  }
  byId("find").addEventListener("click", find);
  fields.forEach((field) => {
    field.addEventListener("keydown", (event) => { if (event.key === "Enter") { find(); } });
    field.addEventListener("focus", () => {
      const list = byId("container-names");
      if (list.childElementCount) { return; }
      index.names.forEach((name) => { const option = document.createElement("option"); option.value = name; list.append(option); });
    });
  });

  /* Light or dark, and paper. */
  const store = (value) => { try { localStorage.setItem("theme", value); } catch (error) { /* Storage may be refused. */ } };
  try { const kept = localStorage.getItem("theme"); if (kept) { root.dataset.theme = kept; } } catch (error) { /* As above. */ }
  byId("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store(root.dataset.theme);
  });
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    opened.forEach((details) => { details.open = true; });
  });
  window.addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
  if (location.hash) { follow(); }
}());
