(function () {
  "use strict";
  document.documentElement.classList.add("js");
  var input = document.getElementById("filter");
  var groups = Array.prototype.slice.call(document.querySelectorAll("article.group"));
  var count = document.getElementById("filter-count");
  function filter() {
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    groups.forEach(function (group) {
      var text = group.getAttribute("data-find");
      var fits = words.every(function (word) { return text.indexOf(word) >= 0; });
      group.hidden = !fits;
      if (fits) { shown += 1; }
    });
    count.textContent = shown + " of " + groups.length;
  }
  if (input) { input.addEventListener("input", filter); }
  groups.forEach(function (group) { group.setAttribute("data-find", group.textContent.toLowerCase()); });
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
