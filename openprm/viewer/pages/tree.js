"use strict";
// Shows one tree at a time; its data is parsed when it is chosen, and a branch is made when it is first opened.
// Texts are set as text, never as HTML.
(() => {
  const byId = (id) => document.getElementById(id);
  const sources = [...document.querySelectorAll("script[type='application/json']")];
  const treeElement = byId("tree");
  const partnerBar = byId("partner");
  const OPENED = 40; // about how many branches of a tree are shown at first

  let tree; // the data
  let items; // the branches by the id of their first node: a run of steps that the same responses share
  let order; // the branches in display order, as if all were open
  let partners; // by node id: [partner, gap, whether this node is the chosen one]
  let opened; // ids of open branches
  let active; // id of the branch that has, or had, the focus
  let pattern = null; // what is searched for
  let matches = []; // ids of branches with a match
  let match = -1;

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(3);
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
  const hidden = (text) => element("span", { class: "hidden-text" }, text);
  const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

  // A tree's data, read

  function read(data) {
    tree = data;
    const children = tree.nodes.map(() => []);
    tree.nodes.forEach((node, id) => node.parent === null || children[node.parent].push(id));
    // best branch first
    children.forEach((ids) => ids.sort((a, b) => tree.nodes[b].value - tree.nodes[a].value || a - b));
    items = new Map();
    order = [];
    const pending = children[0].map((id, index) => [id, null, 1, 1, index + 1, children[0].length]).reverse();
    while (pending.length) {
      const [id, parent, level, depth, position, size] = pending.pop();
      const steps = [id];
      for (let only = children[id]; only.length === 1 && tree.nodes[only[0]].leaves === tree.nodes[id].leaves;) {
        steps.push(only[0]);
        only = children[only[0]];
      }
      const below = children[steps.at(-1)];
      items.set(id, { id, parent, level, depth, position, size, steps, below });
      order.push(id);
      const next = depth + steps.length;
      pending.push(...below.map((child, index) => [child, id, level + 1, next, index + 1, below.length]).reverse());
    }
    partners = new Map();
    for (const [chosen, rejected, gap] of tree.pairs) {
      for (const [node, partner] of [[chosen, rejected], [rejected, chosen]]) {
        if (!partners.has(node)) partners.set(node, []);
        partners.get(node).push([partner, gap, node === chosen]);
      }
    }
  }

  // Whole levels from the top, as long as not too many branches are shown.
  function openFirst() {
    opened = new Set();
    let level = order.filter((id) => items.get(id).level === 1);
    for (let shown = level.length; level.length;) {
      const below = level.flatMap((id) => items.get(id).below);
      shown += below.length;
      if (shown > OPENED) break;
      level.forEach((id) => items.get(id).below.length && opened.add(id));
      level = below;
    }
  }

  const revealed = (ids) => {
    for (const id of ids) {
      for (let up = items.get(id).parent; up !== null; up = items.get(up).parent) opened.add(up);
    }
  };

  // Drawing

  function text(string) {
    const shown = element("span", { class: "text", dir: "auto" });
    let from = 0;
    if (pattern) {
      for (const found of string.matchAll(pattern)) {
        shown.append(string.slice(from, found.index), element("mark", {}, found[0]));
        from = found.index + found[0].length;
      }
    }
    shown.append(string.slice(from).trimEnd());
    return shown;
  }

  function marks(id) {
    const found = partners.get(id) || [];
    return [true, false].flatMap((chosen) => {
      const gaps = found.filter((partner) => partner[2] === chosen).map((partner) => partner[1]);
      if (!gaps.length) return [];
      const word = chosen ? "chosen" : "rejected";
      const gap = Math.max(...gaps).toFixed(3);
      const label = gaps.length === 1 ? `${word}, gap ${gap}` : `${word} ${gaps.length} times, gap up to ${gap}`;
      return [element("span", { class: `mark ${word}` }, label)];
    });
  }

  function ends(node) {
    const byReward = new Map();
    for (const response of node.ends) {
      const [sample, reward] = tree.responses[response];
      if (!byReward.has(reward)) byReward.set(reward, []);
      byReward.get(reward).push(sample);
    }
    return [...byReward].sort((a, b) => b[0] - a[0]).map(([reward, samples]) =>
      element("p", { class: "ends" },
        `${count(samples.length, "response")} ${samples.length === 1 ? "ends" : "end"} here, reward ` +
        `${signed(reward)} (sample${samples.length === 1 ? "" : "s"} ${samples.join(", ")})`));
  }

  function step(id, number) {
    const node = tree.nodes[id];
    const shown = element("div", { class: "step" },
      element("span", { class: "number" }, hidden("step "), `${number}`, hidden(": ")), text(node.text));
    if (byId("wordings").checked && node.wordings.length) {
      shown.append(element("ul", { class: "wordings" }, ...node.wordings.map(([wording, times]) =>
        element("li", {}, text(wording), element("span", { class: "more" }, ` (${count(times, "response")})`)))));
    }
    return shown;
  }

  function draw(id) {
    const item = items.get(id);
    const node = tree.nodes[id];
    const row = element("div", { class: "row", id: `row-${id}` },
      element("div", { class: "head" },
        element("span", { class: `value c${node.color}` }, hidden("value "), signed(node.value)),
        element("span", { class: "leaves" }, count(node.leaves, "response")),
        ...marks(id)),
      ...item.steps.map((each, index) => step(each, item.depth + index)),
      ...item.steps.flatMap((each) => ends(tree.nodes[each])));
    const made = element("li", {
      role: "treeitem",
      id: `node-${id}`,
      "aria-level": item.level,
      "aria-posinset": item.position,
      "aria-setsize": item.size,
      "aria-labelledby": row.id,
      tabindex: id === active ? 0 : -1,
    }, row);
    if (partners.has(id)) made.setAttribute("aria-describedby", "partner");
    if (item.below.length) {
      made.setAttribute("aria-expanded", "false");
      if (opened.has(id)) unfold(made, item);
    }
    return made;
  }

  function unfold(made, item) {
    made.setAttribute("aria-expanded", "true");
    made.append(element("ul", { role: "group" }, ...item.below.map(draw)));
  }

  function redraw() {
    const focused = treeElement.contains(document.activeElement);
    treeElement.replaceChildren(...order.filter((id) => items.get(id).parent === null).map(draw));
    if (!byNode(active)) activate(order[0]);
    if (focused) byNode(active).focus();
    showPartners(focused ? active : null);
    markMatch();
  }

  // Moving about

  const byNode = (id) => byId(`node-${id}`);
  const idOf = (made) => Number(made.id.slice("node-".length));
  const visible = () => [...treeElement.querySelectorAll("[role='treeitem']")];

  function activate(id) {
    byNode(active)?.setAttribute("tabindex", "-1");
    active = id;
    byNode(id).setAttribute("tabindex", "0");
  }

  function focus(id) {
    activate(id);
    showPartners(id);
    byNode(id).focus({ preventScroll: true });
    byNode(id).firstChild.scrollIntoView({ block: "nearest" });
  }

  function setOpen(id, open) {
    const item = items.get(id);
    if (!item.below.length || opened.has(id) === open) return;
    const made = byNode(id);
    if (open) {
      opened.add(id);
      unfold(made, item);
    } else {
      opened.delete(id);
      if (made.contains(byNode(active)) && active !== id) activate(id);
      made.lastChild.remove();
      made.setAttribute("aria-expanded", "false");
    }
    markMatch();
  }

  // A chosen or rejected step's partners: outlined where they stand, and told at the foot of the window.
  function showPartners(id) {
    for (const row of treeElement.querySelectorAll(".row.partner")) {
      row.classList.remove("partner");
      row.querySelector(".is-partner").remove();
    }
    const found = partners.get(id) || [];
    partnerBar.replaceChildren(...found.slice(0, 3).map(([partner, gap, chosen]) =>
      element("p", {},
        element("b", {}, `${chosen ? "Chosen over" : "Rejected for"}, gap ${gap.toFixed(3)}: `),
        element("span", { class: `value c${tree.nodes[partner].color}` }, signed(tree.nodes[partner].value)),
        ` ${tree.nodes[partner].text.trim()}`)));
    if (found.length > 3) partnerBar.append(element("p", {}, `and ${found.length - 3} more`));
    partnerBar.hidden = !found.length;
    for (const [partner] of found) {
      const row = byId(`row-${partner}`);
      row.classList.add("partner");
      row.firstChild.append(element("span", { class: "is-partner" }, "partner"));
    }
  }

  const handlers = {
    ArrowDown: (id, all) => focus(idOf(all[Math.min(all.indexOf(byNode(id)) + 1, all.length - 1)])),
    ArrowUp: (id, all) => focus(idOf(all[Math.max(all.indexOf(byNode(id)) - 1, 0)])),
    ArrowRight: (id) => {
      if (opened.has(id)) focus(items.get(id).below[0]);
      else setOpen(id, true);
    },
    ArrowLeft: (id) => {
      if (opened.has(id)) setOpen(id, false);
      else if (items.get(id).parent !== null) focus(items.get(id).parent);
    },
    Home: (id, all) => focus(idOf(all[0])),
    End: (id, all) => focus(idOf(all.at(-1))),
    Enter: (id) => setOpen(id, !opened.has(id)),
    " ": (id) => setOpen(id, !opened.has(id)),
    "*": (id) => order.filter((other) => items.get(other).parent === items.get(id).parent)
      .forEach((other) => setOpen(other, true)),
    p: (id) => partners.has(id) && focus(partners.get(id)[0][0]),
    P: (id) => handlers.p(id),
  };

  treeElement.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in handlers)) return;
    event.preventDefault();
    handlers[event.key](active, visible());
  });
  treeElement.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row || !getSelection().isCollapsed) return; // selecting text does not toggle
    const id = idOf(row.parentElement);
    setOpen(id, !opened.has(id));
    focus(id);
  });
  treeElement.addEventListener("focusin", (event) => {
    const id = idOf(event.target);
    if (id !== active) activate(id);
    showPartners(id);
  });
  treeElement.addEventListener("focusout", () => showPartners(null));
  treeElement.addEventListener("pointerover", (event) => {
    const row = event.target.closest(".row");
    if (row) showPartners(idOf(row.parentElement));
  });
  treeElement.addEventListener("pointerleave", () =>
    showPartners(treeElement.contains(document.activeElement) ? active : null));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input")) return;
    event.preventDefault();
    byId("search").focus();
  });

  // Searching

  function search() {
    const query = byId("search").value.trim();
    pattern = query ? new RegExp(escaped(query), "giu") : null;
    let steps = 0;
    matches = !pattern ? [] : order.filter((id) => {
      const found = items.get(id).steps.filter((each) => {
        const node = tree.nodes[each];
        const texts = byId("wordings").checked ? [node.text, ...node.wordings.map(([wording]) => wording)] : [node.text];
        return texts.some((one) => one.search(pattern) >= 0);
      }).length;
      steps += found;
      return found;
    });
    match = -1;
    revealed(matches);
    redraw();
    byId("previous").disabled = byId("next").disabled = !matches.length;
    byId("found").textContent = !pattern ? ""
      : steps ? `${count(steps, "step")} match${steps === 1 ? "es" : ""}` : "No step matches";
    if (matches.length) goTo(0);
  }

  function goTo(index) {
    match = (index + matches.length) % matches.length;
    revealed([matches[match]]);
    if (!byNode(matches[match])) redraw();
    activate(matches[match]);
    markMatch();
    byId(`row-${matches[match]}`).scrollIntoView({ block: "nearest" });
    const summary = byId("found").textContent.split("; ")[0];
    byId("found").textContent = `${summary}; branch ${match + 1} of ${matches.length}`;
  }

  function markMatch() {
    treeElement.querySelector(".current")?.classList.remove("current");
    byId(`row-${matches[match]}`)?.classList.add("current");
  }

  byId("search").addEventListener("input", search);
  byId("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && matches.length) goTo(match + (event.shiftKey ? -1 : 1));
    if (event.key === "Escape") {
      event.preventDefault();
      byId("search").value = "";
      const id = active;
      search();
      focus(id);
    }
  });
  byId("next").addEventListener("click", () => goTo(match + 1));
  byId("previous").addEventListener("click", () => goTo(match - 1));
  byId("wordings").addEventListener("change", search);
  byId("expand").addEventListener("click", () => {
    opened = new Set(order.filter((id) => items.get(id).below.length));
    redraw();
  });
  byId("collapse").addEventListener("click", () => {
    opened = new Set();
    redraw();
  });
  byId("show-pairs").addEventListener("click", () => {
    revealed([...partners.keys()]);
    redraw();
    focus(order.find((id) => partners.has(id)));
  });

  // Choosing a prompt

  function show(index) {
    read(JSON.parse(sources[index].textContent));
    openFirst();
    [active] = order;
    byId("prompt").textContent = tree.id;
    byId("question").replaceChildren(
      ...tree.question.concat(tree.reference === null ? [] : [["reference answer", tree.reference]])
        .map(([role, content]) => element("div", { class: "message" },
          element("b", {}, role), element("p", { dir: "auto" }, content))));
    byId("facts").textContent = `Source ${tree.source}; ${count(tree.responses.length, "response")}, ` +
      `${count(tree.nodes.length - 1, "distinct step")}, ${count(tree.pairs.length, "pair")}. A step's value is the mean ` +
      `reward (${tree.reward}) of the responses through it; over all it is ${signed(tree.nodes[0].value)}.`;
    byId("low").textContent = `lowest ${signed(tree.low)}`;
    byId("high").textContent = `highest ${signed(tree.high)}`;
    byId("show-pairs").disabled = !tree.pairs.length;
    byId("wordings").parentElement.hidden = !tree.nodes.some((node) => node.wordings.length);
    search();
    for (const button of byId("list").querySelectorAll("button")) {
      if (Number(button.value) === index) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    history.replaceState(null, "", `#${encodeURIComponent(tree.id)}`);
  }

  const wide = matchMedia("(min-width: 62rem)");
  const fold = () => { byId("prompts").firstElementChild.open = wide.matches; };

  function list() {
    byId("list").append(...sources.map((source, index) => {
      const button = element("button", { type: "button", value: index },
        element("span", { dir: "auto" }, source.dataset.id),
        element("span", { dir: "auto" }, source.dataset.question));
      button.addEventListener("click", () => {
        show(index);
        if (!wide.matches) fold();
        byId("prompt").focus();
      });
      return element("li", {}, button);
    }));
    byId("prompts-summary").textContent = count(sources.length, "prompt");
    byId("prompts").hidden = sources.length === 1;
    document.querySelector(".columns").classList.toggle("listed", sources.length > 1);
    wide.addEventListener("change", fold);
    fold();
  }

  byId("filter").addEventListener("input", () => {
    const wanted = byId("filter").value.trim().toLowerCase();
    let left = 0;
    for (const row of byId("list").children) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      left += row.hidden ? 0 : 1;
    }
    byId("filtered").textContent = wanted ? `${count(left, "prompt")} of ${sources.length}` : "";
  });

  // a link may name a prompt
  const named = () => sources.findIndex((source) => `#${encodeURIComponent(source.dataset.id)}` === location.hash);
  addEventListener("hashchange", () => {
    if (named() >= 0 && sources[named()].dataset.id !== tree.id) show(named());
  });

  list();
  show(Math.max(named(), 0));
})();
