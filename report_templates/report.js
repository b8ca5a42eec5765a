(function () {
  "use strict";
  document.documentElement.classList.add("js");
  var input = document.getElementById("filter");
  var groups = Array.prototype.slice.call(document.querySelectorAll("article.group"));
  var count = document.getElementById("filter-count");
  var texts = null;
  function findable(group, names) {
    var text = group.textContent.toLowerCase();
    ["from", "to"].forEach(function (side) {
      var parts = group.querySelectorAll(".but." + side);
      if (!parts.length) { return; }
      var left = {};
      parts.forEach(function (part) {
        var list = part.textContent.toLowerCase();
        text = text.replace(list, "");
        list.split(", ").forEach(function (name) { left[name] = true; });
      });
      text += " " + names.filter(function (name) { return !left[name]; }).join(" ");
    });
    return text;
  }
  function findAll() {
    var heads = Array.prototype.slice.call(document.querySelectorAll("table.containers tbody th"));
    var names = heads.map(function (head) { return head.textContent.toLowerCase(); });
    return groups.map(function (group) { return findable(group, names); });
  }
  function filter() {
    texts = texts || findAll();
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    groups.forEach(function (group, position) {
      var fits = words.every(function (word) { return texts[position].indexOf(word) >= 0; });
      group.hidden = !fits;
      if (fits) { shown += 1; }
    });
    count.textContent = shown + " of " + groups.length;
  }
  if (input) { input.addEventListener("input", filter); }
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-copy]");
    if (button) {
      var done = function () { button.textContent = "copied"; };
      var text = button.getAttribute("data-copy");
      if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done); return; }
      var area = document.createElement("textarea");
      area.value = text; document.body.appendChild(area); area.select();
      if (document.execCommand("copy")) { done(); }
      area.remove();
    }
    var cell = event.target.closest(".matrix td[id] a");
    if (cell) {
      document.querySelectorAll(".matrix td.lit").forEach(function (lit) { lit.classList.remove("lit"); });
      cell.parentNode.classList.add("lit");
    }
  });
  function reveal() {
    var target = document.getElementById(location.hash.slice(1));
    if (target && target.hidden) { input.value = ""; filter(); target.scrollIntoView(); }
  }
  window.addEventListener("hashchange", reveal);
  reveal();
}());
