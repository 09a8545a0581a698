"use strict";
// The case browser: filters, a paged list, one case at a time. Texts stay packed until somebody asks for them.

(() => {
  const { byId, make, unpack, visible, paint, counted } = parts;
  const PAGE = 20;
  const KEPT = 4; // unpacked blocks held at once
  const PARTS = ["answer", "thinking"];
  const BAD = new Set(["unsafe", "malicious", "harmful", "extremely malicious", "potentially malicious"]);
  const GOOD = new Set(["safe", "benign", "harmless", "non-malicious"]);

  const UNSEEN = { none: "no thinking", full: "not judged", summary: "summary only", encrypted: "withheld (encrypted)", hidden: "withheld (hidden)", failed: "nothing came" };

  const state = { page: 0, found: [], current: -1, revealed: false, asked: -1 };
  const blocks = new Map();
  let data, cases, controls, drawn = 0;

  const named = ([id, benchmark, target, attack, repeat, tags, kind, finish, verdicts, block, place]) => ({
    id, benchmark, target, attack, repeat, kind, finish, block, place,
    tags: Object.entries(tags),
    verdicts: verdicts.map(([part, judge, rubric, label, status]) => ({ part, judge, rubric, label, status })),
  });

  // --- filters ---------------------------------------------------------------------------------------------------

  const distinct = (values) => [...new Set(values)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const attacked = (item) => item.attack !== "" && item.attack !== "none";
  const ruled = (item, part) => item.verdicts.filter((v) => v.part === part && (!chosen("judge") || v.judge === chosen("judge")));
  const chosen = (name) => (controls && controls[name] ? controls[name].value : "");
  const word = (verdict) => (verdict.status === "ok" ? String(verdict.label) : "\u0000" + verdict.status);

  function differs(item) {
    const thinking = ruled(item, "thinking").filter((v) => v.status === "ok");
    return ruled(item, "answer").some((a) => a.status === "ok" && thinking.some((t) => t.judge === a.judge && t.rubric === a.rubric && t.label !== a.label));
  }

  const TESTS = {
    target: (item, value) => item.target === value,
    benchmark: (item, value) => item.benchmark === value,
    attack: (item, value) => item.attack === value,
    judge: (item, value) => item.verdicts.some((v) => v.judge === value),
    axis: (item, value) => item.tags.some(([axis]) => axis === value),
    group: (item, value) => item.tags.some(([axis, group]) => group === value && (!chosen("axis") || axis === chosen("axis"))),
    answer: (item, value) => ruled(item, "answer").some((v) => word(v) === value),
    thinking: (item, value) => ruled(item, "thinking").some((v) => word(v) === value),
    parts: (item, value) => differs(item) === (value === "differ"),
    status: (item, value) => item.verdicts.some((v) => v.status === value && (!chosen("judge") || v.judge === chosen("judge"))),
    kind: (item, value) => item.kind === value,
    text: (item, value) => item.id.toLowerCase().includes(value.toLowerCase()),
  };

  function choice(name, caption, options, any) {
    const select = make("select", { name, on: { change: () => { if (name === "axis") refill(); apply(); } } });
    fill(select, options, any);
    return { name, select, label: make("label", {}, caption, select), worth: options.length > 1 };
  }

  function fill(select, options, any) {
    select.replaceChildren(make("option", { value: "" }, any), ...options.map((option) => {
      const [value, caption] = Array.isArray(option) ? option : [option, option];
      const element = make("option", {}, visible(caption));
      element.value = value;
      return element;
    }));
  }

  const labels = (part) => distinct(cases.flatMap((item) => item.verdicts.filter((v) => v.part === part).map(word))).map(
    (value) => (value.startsWith("\u0000") ? [value, "not judged: " + value.slice(1).replaceAll("_", " ")] : value));

  function groups() {
    const axis = chosen("axis");
    return distinct(cases.flatMap((item) => item.tags.filter(([name]) => !axis || name === axis).map(([, group]) => group)));
  }

  function refill() {
    fill(controls.group, groups(), "any");
  }

  function filters() {
    const all = [
      choice("target", "Model", distinct(cases.map((item) => item.target)), "all models"),
      choice("benchmark", "Benchmark", distinct(cases.map((item) => item.benchmark)), "all benchmarks"),
      choice("attack", "Attack", distinct(cases.map((item) => item.attack)), "any"),
      choice("judge", "Judge", distinct(cases.flatMap((item) => item.verdicts.map((v) => v.judge))), "any"),
      choice("axis", "Category axis", distinct(cases.flatMap((item) => item.tags.map(([axis]) => axis))), "any"),
      choice("group", "Category", groups(), "any"),
      choice("answer", "Verdict on the answer", labels("answer"), "any"),
      choice("thinking", "Verdict on the thinking", labels("thinking"), "any"),
      choice("parts", "Answer and thinking", [["differ", "judged differently"], ["agree", "not judged differently"]], "any"),
      choice("status", "Judging", distinct(cases.flatMap((item) => item.verdicts.map((v) => v.status))).map((s) => [s, s.replaceAll("_", " ")]), "any status"),
      choice("kind", "Thinking is", distinct(cases.map((item) => item.kind)), "any kind"),
    ];
    const search = make("input", { type: "search", name: "text", autocomplete: "off", spellcheck: "false", on: { input: () => apply() } });
    controls = Object.fromEntries(all.map(({ name, select }) => [name, select]));
    controls.text = search;
    const shown = all.filter(({ worth }) => worth).map(({ label }) => label);
    return make("div", { class: "filters", role: "search", "aria-label": "Filter the cases" }, make("label", {}, "Case id contains", search), shown);
  }

  function apply() {
    const active = Object.keys(TESTS).map((name) => [TESTS[name], chosen(name)]).filter(([, value]) => value);
    state.found = [];
    cases.forEach((item, index) => { if (active.every(([test, value]) => test(item, value))) state.found.push(index); });
    state.page = 0;
    drawList();
  }

  // --- list ------------------------------------------------------------------------------------------------------

  const link = (item) => "#case=" + [item.benchmark, item.target, item.attack, String(item.repeat), item.id].map(encoded).join("/");
  const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  const encoded = (text) => { try { return encodeURIComponent(text); } catch { return encodeURIComponent(visible(text)); } };

  function pill(verdict) {
    const judged = verdict.status === "ok";
    const tone = !judged ? "open-question" : BAD.has(verdict.label) ? "bad" : GOOD.has(verdict.label) ? "good" : "";
    const caption = judged ? verdict.label : verdict.status.replaceAll("_", " ");
    return make("span", { class: "pill " + tone, title: visible(verdict.judge) + ", " + visible(verdict.rubric) }, visible(caption));
  }

  function row(index) {
    const item = cases[index];
    const go = () => { location.hash = link(item); };
    const cell = (name, ...children) => make("td", { "data-name": name, class: children.flat().length ? null : "blank" }, ...children);
    const open = make("button", { class: "open", type: "button" }, visible(item.id));
    return make("tr", { class: "row" + (index === state.current ? " now" : ""), on: { click: go }, "aria-current": index === state.current ? "true" : null },
      make("td", {}, open),
      cell("model", visible(item.target)),
      cell("benchmark", visible(item.benchmark), attacked(item) ? make("small", {}, " under " + visible(item.attack)) : ""),
      cell("answer", ruled(item, "answer").map(pill)),
      cell("thinking", ruled(item, "thinking").map(pill), ruled(item, "thinking").length ? "" : make("small", {}, UNSEEN[item.kind] || visible(item.kind))),
      cell("", differs(item) ? make("span", { class: "apart" }, "\u2260 differ") : []));
  }

  function drawList() {
    const pages = Math.max(1, Math.ceil(state.found.length / PAGE));
    state.page = Math.min(Math.max(0, state.page), pages - 1);
    const start = state.page * PAGE;
    byId("rows").replaceChildren(...state.found.slice(start, start + PAGE).map(row));
    byId("found").textContent = counted(state.found.length, "case", "cases") + " of " + cases.length.toLocaleString("en");
    byId("page").textContent = "page " + (state.page + 1).toLocaleString("en") + " of " + pages.toLocaleString("en");
    byId("earlier").disabled = state.page === 0;
    byId("later").disabled = state.page >= pages - 1;
    byId("nothing").hidden = state.found.length > 0;
  }

  const turn = (by) => () => { state.page += by; drawList(); };

  function clear() {
    for (const control of Object.values(controls)) control.value = "";
    refill();
    apply();
  }

  function browser() {
    const table = make("table", { class: "list" },
      make("thead", {}, make("tr", {}, ["Case", "Model", "Benchmark", "Answer", "Thinking", ""].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", { id: "rows" }));
    const pager = make("div", { class: "bar" },
      make("button", { id: "earlier", type: "button", on: { click: turn(-1) } }, "Earlier"),
      make("output", { id: "page" }),
      make("button", { id: "later", type: "button", on: { click: turn(1) } }, "Later"));
    const bar = make("div", { class: "bar" },
      make("output", { id: "found", "aria-live": "polite" }),
      make("button", { id: "clear", type: "button", on: { click: clear } }, "Clear filters"),
      data.texts ? toggle() : "");
    byId("browser").replaceChildren(filters(), bar, table, make("p", { id: "nothing", class: "empty", hidden: true }, "No case fits these filters."), pager,
      make("p", { id: "missing", class: "cut", hidden: true }, "The case of this link is not in this page."));
    byId("browser").hidden = false;
  }

  function toggle() {
    const box = make("input", { type: "checkbox", id: "reveal", on: { change: () => { state.revealed = box.checked; state.asked = -1; drawCase(); } } });
    box.checked = state.revealed;
    return make("label", { class: "toggle push" }, box, "Show all texts (content warning: may be harmful or distressing)");
  }

  // --- one case --------------------------------------------------------------------------------------------------

  function texts(item) {
    if (!blocks.has(item.block)) {
      if (blocks.size >= KEPT) blocks.delete(blocks.keys().next().value);
      blocks.set(item.block, unpack("block-" + item.block));
    }
    return blocks.get(item.block).then((block) => block[item.place]);
  }

  const veil = (caption) => make("p", { class: "veil" }, caption);

  function shown(text) {
    const [content, whole] = Array.isArray(text) ? text : [text, 0];
    const box = make("div", { class: "text", tabindex: "0" }, paint(content));
    if (!whole) return [box];
    const cut = "Cut for this page at " + data.limit.toLocaleString("en") + " of " + whole.toLocaleString("en") + " characters, whole in the store.";
    return [box, make("p", { class: "cut" }, cut)];
  }

  function pane(name, kind, line, body) {
    return make("section", { class: "pane is-" + kind, "aria-label": name }, make("h4", {}, name), make("p", { class: "state-line" }, line), body);
  }

  const has = (item) => data.texts && item.block >= 0;
  const hiddenText = (item) => veil(has(item) ? "Hidden until you ask" : data.texts ? "Not in this page; the store has it" : "Left out of this file");

  function panes(item, content) {
    const thought = item.kind === "full" || item.kind === "summary";
    const prompt = content ? content[0].flatMap(([role, text]) => [make("span", { class: "speaker state-line" }, visible(role)), ...shown(text)]) : [hiddenText(item)];
    const thinking = thought || (content && content[1].length) ? (content ? shown(content[1]) : [hiddenText(item)]) : [];
    const answer = content ? (content[3].length ? shown(content[3]) : [veil(item.kind === "failed" ? "Nothing came" : "The answer is empty")]) : [hiddenText(item)];
    const carrier = content && content[2] ? ", carried by " + visible(content[2]) : "";
    const ended = item.kind === "failed" ? data.kinds.failed : { stop: "ended by itself", length: "cut off by the token limit", blocked: "blocked by the provider" }[item.finish] || item.finish;
    return make("div", { class: "panes" },
      pane("Prompt", "prompt", content ? counted(content[0].length, "turn", "turns") : "what was sent", prompt),
      pane("Thinking", "thinking", (data.kinds[item.kind] || visible(item.kind)) + carrier, thinking),
      pane("Answer", "answer", visible(ended), answer));
  }

  function verdict(item, ruling, words) {
    const [reason, reply] = words || ["", ""];
    const head = make("p", {}, make("span", { class: "part " + (PARTS.includes(ruling.part) ? ruling.part : "") }, visible(ruling.part)), " ", pill(ruling),
      " ", make("small", {}, "by " + visible(ruling.judge) + ", rubric " + visible(ruling.rubric) + (ruling.status === "ok" ? "" : "; " + (data.statuses[ruling.status] || visible(ruling.status)))));
    const body = !words ? [hiddenText(item)] : [
      ...(reason.length ? shown(reason) : [make("small", {}, "no reason given")]),
      reply.length ? make("details", {}, make("summary", {}, "the judge's raw reply"), shown(reply)) : ""];
    return make("div", { class: "verdict" }, head, body);
  }

  function tools(item, open) {
    const at = state.found.indexOf(state.current);
    const step = (by) => { const next = state.found[at + by]; return make("button", { type: "button", id: by < 0 ? "previous" : "next", disabled: next === undefined || at < 0, on: { click: () => { location.hash = link(cases[next]); } } }, by < 0 ? "Previous" : "Next"); };
    const ask = make("button", { type: "button", id: "show", class: "ask", on: { click: () => { state.asked = open ? -1 : state.current; drawCase(); } } }, open ? "Hide texts" : "Show texts");
    return make("div", { class: "bar case-tools" }, has(item) && !state.revealed ? ask : "", step(-1), step(1),
      make("a", { class: "button push", href: link(item) }, "Link to this case"), make("button", { type: "button", id: "close", on: { click: close } }, "Close"));
  }

  function close() {
    const was = state.current;
    history.replaceState(null, "", "#cases");
    select(-1);
    const back = [...byId("rows").children][state.found.indexOf(was) - state.page * PAGE];
    if (back) back.querySelector("button").focus();
  }

  async function drawCase() {
    const box = byId("case");
    const item = cases[state.current];
    const turn = ++drawn;
    box.hidden = !item;
    if (!item) return box.replaceChildren();
    const open = has(item) && (state.revealed || state.asked === state.current);
    const content = open ? await texts(item) : null;
    if (turn !== drawn) return; // another case was chosen meanwhile
    const words = (index) => (content ? content[5][index] : null);
    const facts = [visible(item.target), visible(item.benchmark)].concat(attacked(item) ? ["under " + visible(item.attack)] : [], item.repeat ? ["repeat " + item.repeat] : []);
    const held = document.activeElement && box.contains(document.activeElement) ? document.activeElement.id : "";
    box.replaceChildren(
      make("div", { class: "case-head" }, make("h3", {}, visible(item.id))),
      make("p", { class: "about-case" }, facts.join(" \u00b7 "), make("br"), item.tags.map(([axis, group]) => make("span", { class: "tag" }, visible(axis) + " ", make("b", {}, visible(group))))),
      tools(item, open), panes(item, content),
      content && content[4].length ? make("div", {}, make("h4", {}, "Remark of the server"), shown(content[4])) : "",
      make("h4", {}, "Verdicts"),
      make("div", { class: "verdicts" }, item.verdicts.length ? item.verdicts.map((ruling, index) => verdict(item, ruling, words(index))) : make("p", { class: "empty" }, "Nothing in this case was judged.")));
    if (held && byId(held)) byId(held).focus();
  }

  function select(index, jump) {
    state.current = index;
    const at = state.found.indexOf(index);
    if (at >= 0) state.page = Math.floor(at / PAGE);
    drawList();
    drawCase().then(() => { if (jump && index >= 0) { byId("case").scrollIntoView({ block: "start" }); byId("case").focus({ preventScroll: true }); } });
  }

  function filtered(values) { // from a figure to the cases behind it
    const names = ["benchmark", "target", "attack", "judge", "parts"];
    for (const control of Object.values(controls)) control.value = "";
    refill();
    names.forEach((name, index) => { controls[name].value = values[index] || ""; });
    state.current = -1;
    drawCase();
    apply();
    byId("cases").scrollIntoView({ block: "start" });
  }

  function follow() {
    const [, kind, rest] = /^#(case|filter)=(.*)$/s.exec(location.hash) || [];
    if (kind === "filter") return filtered(rest.split("/").map(decoded));
    if (kind !== "case") return undefined;
    let index = cases.findIndex((item) => link(item) === location.hash);
    if (index < 0) index = cases.findIndex((item) => encoded(item.id) === rest); // an id alone will do
    byId("missing").hidden = index >= 0;
    if (index !== state.current) select(index, true);
    return undefined;
  }

  async function start() {
    try {
      data = await unpack("index");
    } catch {
      const old = "The list of cases could not be opened. It needs a browser from 2023 or later.";
      byId("browser").replaceChildren(make("p", { class: "empty" }, old));
      byId("browser").hidden = false;
      return;
    }
    cases = data.cases.map(named);
    state.revealed = data.texts && data.reveal;
    browser();
    apply();
    addEventListener("hashchange", follow);
    follow();
    document.documentElement.dataset.ready = "yes";
  }

  start();
})();
