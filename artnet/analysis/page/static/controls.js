"use strict";
// Controls with their labels. What is chosen is kept by the control's name, for a page that is loaded anew.

page.controls = {
  /** A list to choose one of `options`, [value, text] each; `changed(value)` is called for every choice. */
  select(name, label, options, value, changed) {
    const list = page.el(
      "select",
      { id: name, onchange: () => changed(list.value) },
      options.map(([of, text]) => page.el("option", { value: of, selected: String(of) === String(value) }, page.cut(text, 80))),
    );
    return page.el("label", { class: "field" }, label, list);
  },

  /** The same as buttons side by side, for a few short options. */
  choices(name, label, options, value, changed) {
    const buttons = options.map(([of, text]) =>
      page.el(
        "label",
        {},
        page.el("input", { type: "radio", id: `${name}-${of}`, name, value: of, checked: String(of) === String(value), onchange: () => changed(of) }),
        text,
      ),
    );
    return page.el("fieldset", { class: "field" }, page.el("legend", {}, label), page.el("div", { class: "choices" }, buttons));
  },

  /** A choice of the task, or nothing where there is only one. */
  task(name, value, changed) {
    const tasks = page.data.tasks;
    return tasks.length > 1 ? page.controls.choices(name, "Task", tasks.map((task) => [task, page.title(task)]), value, changed) : null;
  },

  model(name, label, value, changed, none = null) {
    const models = page.data.models.map((model, index) => [index, model.label]);
    return page.controls.select(name, label, none ? [["", none], ...models] : models, value, changed);
  },

  search(name, label, changed) {
    const input = page.el("input", { type: "search", id: name, oninput: () => changed(input.value.trim().toLowerCase()) });
    return page.el("label", { class: "field" }, label, input);
  },

  /** Check boxes in a list; `changed(values)` gets the chosen values. */
  checks(name, options, chosen, changed, mark = () => null) {
    const boxes = options.map(([of, text]) =>
      page.el("input", { type: "checkbox", id: `${name}-${of}`, value: of, checked: chosen.includes(of), onchange: () => changed(options.filter((_, i) => boxes[i].checked).map(([value]) => value)) }),
    );
    return page.el("div", { class: "list", role: "group", "aria-label": name }, boxes.map((box, i) => page.el("label", {}, box, mark(options[i][0]), options[i][1])));
  },

  menu: (label, ...content) => page.el("details", { class: "menu" }, page.el("summary", {}, label), ...content),

  button: (content, action, attributes = {}) => page.el("button", { type: "button", onclick: action, ...attributes }, content),

  bar: (...controls) => page.el("div", { class: "bar" }, ...controls),
};
