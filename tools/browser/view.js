// Runs in an isolated world of a page: sees its DOM, and nothing that the page's scripts redefine. Roles and names are
// Chromium's own (computedRole, computedName). Elements keep their number as long as they live.
globalThis.agentrl ??= (() => {
  const numbers = new WeakMap(), elements = new Map();
  let given = 0;  // the numbers that the last look began with
  const ACTS = new Set(["button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "option",
    "menuitem", "menuitemcheckbox", "menuitemradio", "slider", "spinbutton", "switch", "tab", "treeitem", "gridcell"]);
  const WHOLE = new Set(["button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "option",
    "menuitem", "slider", "spinbutton", "switch", "tab"]);  // what stands inside is their name
  const SKIPPED = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "HEAD", "OPTION", "OPTGROUP"]);
  const SHAPES = new Set(["rect", "circle", "ellipse", "polygon", "path", "line", "text"]);
  const MOST = 600, LONGEST = 400;
  const squeeze = text => text.replace(/\s+/g, " ");
  const cut = text => { const t = squeeze(text ?? "").trim(); return t.length > LONGEST ? t.slice(0, LONGEST) + "…" : t; };

  function number(element) {
    if (!numbers.has(element)) {
      numbers.set(element, elements.size + 1);
      elements.set(elements.size + 1, new WeakRef(element));
    }
    return numbers.get(element);
  }
  function renumber(after = 0) {  // the numbers up to this one stay
    for (const [n, weak] of elements) if (n > after) { numbers.delete(weak.deref()); elements.delete(n); }
  }
  const find = n => { const e = elements.get(n)?.deref(); return e?.isConnected ? e : null; };
  const clear = color => color.startsWith("rgba") && color.endsWith(", 0)");
  const style = e => e.ownerDocument.defaultView.getComputedStyle(e);

  function offset(element) {  // of the frames around it
    let [x, y] = [0, 0];
    for (let f = element.ownerDocument.defaultView.frameElement; f; f = f.ownerDocument.defaultView.frameElement) {
      const box = f.getBoundingClientRect();
      x += box.x + f.clientLeft; y += box.y + f.clientTop;
    }
    return [x, y];
  }

  function described(e, role) {
    const box = e.getBoundingClientRect(), [dx, dy] = offset(e), states = [];
    const item = {ref: number(e), role, tag: e.tagName.toLowerCase(), name: cut(e.computedName || e.getAttribute("aria-label")),
      box: [box.x + dx, box.y + dy, box.width, box.height].map(Math.round), id: e.id, classes: e.getAttribute("class") ?? ""};
    if (!item.name && !["SELECT", "TEXTAREA", "INPUT"].includes(e.tagName) && (WHOLE.has(role) || !e.children.length)) item.name = cut(e.textContent);
    if (e.disabled || e.ariaDisabled === "true") states.push("disabled");
    if (e.checked || e.ariaChecked === "true") states.push("checked");
    if (e.ariaSelected === "true") states.push("selected");
    if (e.ariaExpanded) states.push(e.ariaExpanded === "true" ? "expanded" : "collapsed");
    if (e.ownerDocument.activeElement === e && e !== e.ownerDocument.body) states.push("focused");
    if (e.tagName === "SELECT") {
      item.options = [...e.options].slice(0, 100).map(o => cut(o.label));
      item.value = [...e.selectedOptions].map(o => cut(o.label)).join(", ");
    } else if ("value" in e && ["INPUT", "TEXTAREA"].includes(e.tagName) && !["checkbox", "radio", "submit", "button"].includes(e.type)) {
      item.value = e.value.slice(0, 2000);  // as it is: it may be copied
    } else if (e.isContentEditable) {
      item.value = cut(e.innerText);
    }
    if (e instanceof SVGElement) {
      const look = style(e);
      item.look = [look.fill === "none" ? look.stroke : look.fill, item.box[2] + "x" + item.box[3]].join(" ");
      item.shape = Object.fromEntries([...e.attributes].map(a => [a.name, a.value]).filter(([n]) => !["id", "class", "style"].includes(n)));
    }
    if (!item.name && !(e instanceof SVGElement) && !WHOLE.has(role) && !("value" in item)) {
      const ground = style(e).backgroundColor, seen = clear(ground) ? [] : [ground, item.box[2] + "x" + item.box[3]];
      item.look = [...[...e.classList].slice(0, 3).map(name => "." + name), ...seen].join(" ");
    }
    item.states = states;
    return item;
  }

  function acts(e, role) {
    if (ACTS.has(role) && e.tagName !== "OPTION") return true;
    if (e.isContentEditable && !e.parentElement?.isContentEditable) return true;
    if (e.hasAttribute("onclick") || e.tabIndex >= 0 || e.tagName === "SUMMARY") return true;
    return style(e).cursor === "pointer" && (!e.parentElement || style(e.parentElement).cursor !== "pointer");
  }

  function shows(e) {  // an empty element that there is something to see of, or to do with
    const look = style(e), box = e.getBoundingClientRect();
    if (!box.width || !box.height) return false;
    return e.textContent.trim() || e.computedRole === "image" || e instanceof SVGElement || ["CANVAS", "IMG", "INPUT", "TEXTAREA"].includes(e.tagName) ||
      !clear(look.backgroundColor) || look.backgroundImage !== "none" || !["auto", "default"].includes(look.cursor);
  }

  function view({root, skip, leaves}) {
    const items = [];
    const add = item => { if (items.length < MOST) items.push(item); };
    function walk(node) {
      if (node.nodeType === Node.TEXT_NODE) {
        const text = squeeze(node.data);
        if (text) add({text: text.slice(0, 2000)});
        return;
      }
      if (node.nodeType !== Node.ELEMENT_NODE || SKIPPED.has(node.tagName) || (skip && node.matches(skip))) return;
      if (!node.checkVisibility({visibilityProperty: true, opacityProperty: true})) return;
      const tag = node.tagName.toLowerCase(), role = node.computedRole || "";
      const look = style(node), line = !look.display.startsWith("inline") && look.display !== "contents";
      const cell = tag === "td" || tag === "th";
      if (line && !cell) add({br: role === "heading" ? "# " : role === "listitem" || tag === "li" ? "- " : ""});
      if (cell) add({text: " | "});
      const leaf = leaves && (!node.children.length || SHAPES.has(tag)) && !["br", "hr", "g", "svg", "label"].includes(tag);
      if (tag === "iframe") {
        if (node.contentDocument?.body) walk(node.contentDocument.body); else add({text: "(a frame of another site)"});
      } else if (acts(node, role) || (leaf && shows(node))) {
        add(described(node, ACTS.has(role) ? role : tag));
        if (!WHOLE.has(role) && node.children.length && tag !== "select") inside(node);
      } else if (tag === "img" || role === "image" && tag !== "svg" && !node.children.length) {
        add({text: `(image${node.computedName ? ": " + cut(node.computedName) : ""})`});
      } else {
        inside(node);
      }
      if (line && !cell) add({br: ""});
    }
    const inside = node => {
      for (const child of (node.shadowRoot ?? node).childNodes) {
        if (child.nodeType === Node.TEXT_NODE && node.control) continue;  // a label's text is its control's name
        walk(child);
      }
    };
    const start = (root && document.querySelector(root)) || document.body;
    if (start) inside(start);
    const scrolling = document.scrollingElement;
    return {url: location.href, title: document.title, items, more: items.length >= MOST,
      scroll: scrolling ? [scrolling.scrollTop, scrolling.scrollHeight - innerHeight].map(Math.round) : [0, 0]};
  }

  function under(x, y) {  // what is really at a point, through shadow roots and frames
    let doc = document, hit = null;
    for (;;) {
      const next = doc.elementFromPoint(x, y);
      if (!next || next === hit) return hit;
      hit = next;
      if (hit.shadowRoot) doc = hit.shadowRoot;
      else if (hit.tagName === "IFRAME" && hit.contentDocument) {
        const box = hit.getBoundingClientRect();
        x -= box.x + hit.clientLeft; y -= box.y + hit.clientTop; doc = hit.contentDocument;
      } else return hit;
    }
  }

  function point(n) {  // where to click an element so that the click is its own
    const e = find(n);
    if (!e) return {gone: true};
    if (e.disabled) return {disabled: true};
    e.scrollIntoViewIfNeeded?.(true);
    const [dx, dy] = offset(e);
    let over = null, seen = false;
    for (const box of e.getClientRects()) {
      for (const [u, v] of [[.5, .5], [.25, .5], [.75, .5], [.5, .25], [.5, .75], [.1, .1], [.9, .1], [.1, .9], [.9, .9]]) {
        const x = box.x + dx + box.width * u, y = box.y + dy + box.height * v;
        if (!box.width || !box.height || x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
        seen = true;
        const hit = under(x, y);
        if (hit && (hit === e || e.contains(hit) || hit.closest?.("label")?.control === e)) return {x, y};
        over ??= hit;
      }
    }
    if (!seen) return {hidden: true};
    return {covered: over ? `${over.computedRole || over.tagName.toLowerCase()} "${cut(over.computedName || over.textContent).slice(0, 60)}"` : "nothing"};
  }

  function change(e) {
    for (const kind of ["input", "change"]) e.dispatchEvent(new Event(kind, {bubbles: true}));
  }

  function fill(n, text) {  // inputs that a keyboard cannot simply type into; says whether it was one
    const e = find(n);
    if (e?.tagName !== "INPUT" || !["date", "time", "datetime-local", "month", "week", "color", "range"].includes(e.type)) return false;
    e.focus(); e.value = text; change(e);
    return true;
  }

  function all(n) {  // selects the whole text of a field, which what is typed replaces
    const e = find(n);
    if (e?.select) e.select(); else if (e?.isContentEditable) e.ownerDocument.getSelection().selectAllChildren(e);
  }

  function select(n, option) {
    const e = find(n);
    if (!e) return {gone: true};
    if (e.tagName !== "SELECT") return {wrong: true};
    const found = [...e.options].find(o => squeeze(o.label).trim() === option || o.value === option);
    if (!found || found.disabled || e.disabled) return {known: [...e.options].map(o => cut(o.label)).slice(0, 50)};
    if (e.multiple) found.selected = !found.selected; else e.value = found.value, found.selected = true;
    e.focus(); change(e);
    return {};
  }

  function scroll(n, down) {
    let e = n ? find(n) : document.scrollingElement;
    if (!e) return {gone: true};
    const scrolls = e => e.scrollHeight > e.clientHeight + 1 && !["visible", "hidden"].includes(style(e).overflowY);
    while (e && e !== document.scrollingElement && !scrolls(e)) e = e.parentElement;
    e ??= document.scrollingElement;
    const before = e.scrollTop;
    e.scrollBy({top: (down ? 1 : -1) * Math.max(40, .8 * e.clientHeight), behavior: "instant"});
    return {moved: e.scrollTop !== before};
  }

  function quiet(still, most) {  // resolves when nothing has changed for `still` ms, or after `most` (false)
    return new Promise(resolve => {
      const watch = new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(done, still, true); });
      const done = calm => { watch.disconnect(); clearTimeout(timer); clearTimeout(end); resolve(calm); };
      let timer = setTimeout(done, still, true);
      const end = setTimeout(done, most, false);
      watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    });
  }

  function pictures(most) {  // resolves when all have come, or failed to, or after `most` ms: a text stands for those
    const coming = [...document.images].filter(image => !image.complete && image.loading !== "lazy");
    const each = coming.map(image => new Promise(come => {
      for (const end of ["load", "error"]) image.addEventListener(end, come, {once: true});
    }));
    return Promise.race([Promise.all(each), new Promise(late => setTimeout(late, most))]);
  }

  function inert() {  // a page on which nothing happens by itself
    return document.readyState === "complete" && !document.getAnimations().length &&
      !document.querySelector("script, iframe, frame, object, embed, svg, meta[http-equiv=refresh i]") &&
      !document.evaluate("//@*[starts-with(name(), 'on')]", document, null, XPathResult.BOOLEAN_TYPE).booleanValue;
  }

  // The view, once it is quiet; `again`: the look before was too early; `arrived`: nobody has done anything on the page.
  async function look(still, most, how, again, arrived) {
    if (again) renumber(given);
    await pictures(most / 3);
    const calm = (arrived && inert()) || await quiet(still, most);
    given = elements.size;
    return {...view(how), calm};
  }

  function mark() {  // numbers on a picture, and the way to take them off again
    const host = document.createElement("div"), shadow = host.attachShadow({mode: "closed"});
    for (const [n, weak] of elements) {
      const e = weak.deref();
      if (!e?.isConnected || !e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
      const box = e.getBoundingClientRect(), [dx, dy] = offset(e);
      if (!box.width || box.bottom < 0 || box.top > innerHeight) continue;
      const frame = document.createElement("div"), label = document.createElement("span");
      frame.style.cssText = `position:fixed;left:${box.x + dx}px;top:${box.y + dy}px;width:${box.width}px;height:${box.height}px;outline:1px solid #d00;z-index:2147483647;pointer-events:none`;
      label.style.cssText = "position:absolute;left:0;top:0;background:#d00;color:#fff;font:bold 9px/10px sans-serif;padding:0 1px";
      label.textContent = n; frame.append(label); shadow.append(frame);
    }
    document.documentElement.append(host);
    globalThis.agentrlMarks = host;
  }
  const unmark = () => globalThis.agentrlMarks?.remove();

  const stop = () => window.stop();
  const empty = () => { document.open(); };  // nothing is left on the page that could still be told of its end

  return {renumber, stop, empty, view, look, point, fill, all, select, scroll, mark, unmark};
})();
