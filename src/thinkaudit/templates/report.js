"use strict";
// Parts that every view needs: opening a block, building elements, painting foreign text. Foreign text only ever
// becomes a text node or the value of a harmless attribute; the page's policy forbids markup from strings anyway.

const parts = (() => {
  const byId = (id) => document.getElementById(id);

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }

  async function unpack(id) {
    const binary = atob(byId(id).textContent.trim());
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // the same characters as in shape.py: controls, marks that reorder or hide text, halves of surrogate pairs
  const UNSEEN = new RegExp(
    "\\r\\n|[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u2069" +
      "\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e01ef}]|\\p{Surrogate}",
    "gu",
  );

  function symbol(found) {
    const code = found.codePointAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return "[U+" + code.toString(16).toUpperCase().padStart(4, "0") + "]";
  }

  function visible(text) {
    return text.replace(UNSEEN, (found) => (found === "\r\n" ? "\n" : symbol(found)));
  }

  function paint(text) {
    const fragment = document.createDocumentFragment();
    let last = 0;
    for (const match of text.matchAll(UNSEEN)) {
      fragment.append(text.slice(last, match.index));
      last = match.index + match[0].length;
      if (match[0] === "\r\n") fragment.append("\n");
      else fragment.append(make("span", { class: "seen", title: "not printable, made visible" }, symbol(match[0])));
    }
    fragment.append(text.slice(last));
    return fragment;
  }

  const counted = (n, one, many) => n.toLocaleString("en") + " " + (n === 1 ? one : many);

  // on paper nothing can be unfolded: show what was not judged, and the plan
  const folded = [];
  addEventListener("beforeprint", () => {
    for (const element of document.querySelectorAll(".rates details:not([open]), #provenance details:not([open])")) {
      element.open = true;
      folded.push(element);
    }
  });
  addEventListener("afterprint", () => {
    for (const element of folded.splice(0)) element.open = false;
  });

  return { byId, make, unpack, visible, paint, counted };
})();
