// Builds a condition from dropdowns. What it builds is written as JSON into the textarea, which is all that is sent;
// without this script, the textarea is what one types into.
"use strict";
(() => {
    const OPERATORS = ["=", "!=", "contains", ">", "<", "in", "is null", "is not null"];
    const ALONE = ["is null", "is not null"];

    const make = (tag, properties = {}, ...children) => {
        const element = Object.assign(document.createElement(tag), properties);
        element.append(...children);
        return element;
    };

    const dropdown = (options, chosen, label, onchange) => {
        const select = make("select", {onchange, ariaLabel: label});
        for (const [value, text] of options) {
            select.append(make("option", {value, textContent: text, selected: value === chosen}));
        }
        if (chosen && !options.some(([value]) => value === chosen)) {
            select.append(make("option", {value: chosen, textContent: `${chosen} (not found)`, selected: true}));
        }
        return select;
    };

    const link = (text, onclick) => make("button", {type: "button", className: "link-button", textContent: text, onclick});

    class Builder {
        constructor(place) {
            this.offers = JSON.parse(place.dataset.rule);
            this.text = place.querySelector("textarea");
            this.place = make("div", {className: "rule-builder"});
            place.append(this.place);
            place.classList.add("built");
            this.rule = null;
            this.read();
        }

        // What stands in the textarea becomes what is shown. What is no rule stays a text, to be set right there.
        read() {
            const written = this.text.value.trim();
            try {
                this.rule = written ? JSON.parse(written) : null;
                this.draw();
                this.text.classList.remove("as-text");
            } catch (error) {
                this.text.classList.add("as-text");
                this.place.replaceChildren(link("Use the buttons again", () => this.read()));
            }
        }

        write() {
            this.text.value = this.rule ? JSON.stringify(this.rule, null, 1) : "";
        }

        changed() {
            this.write();
            this.draw();
        }

        draw() {
            if (!this.rule) {
                this.place.replaceChildren(link("Add a rule", () => {
                    this.rule = {all: [this.fresh()]};
                    this.changed();
                }));
                return;
            }
            const drawn = this.group(this.rule, () => {
                this.rule = null;
                this.changed();
            });
            this.place.replaceChildren(drawn, link("Show as text", () => {
                this.text.classList.add("as-text");
                this.place.replaceChildren(link("Use the buttons again", () => this.read()));
            }));
        }

        fresh() {
            const source = this.offers.columns.length > 0 || !this.offers.fields;
            const left = source ? {source: this.offers.columns[0] || ""} : {target: (this.offers.fields[0] || [""])[0]};
            return {left, operator: "=", right: {value: ""}};
        }

        group(group, remove) {
            const how = "any" in group ? "any" : "all";
            const members = group[how];
            const head = make("div", {className: "rule-head"}, dropdown(
                [["all", "All of these hold"], ["any", "At least one of these holds"]], how, "All or any",
                event => {
                    delete group[how];
                    group[event.target.value] = members;
                    this.changed();
                },
            ), link("Remove all of them", remove));
            const drawn = members.map((member, index) => {
                const drop = () => {
                    members.splice(index, 1);
                    if (members.length) {
                        this.changed();
                    } else {
                        remove();
                    }
                };
                return "all" in member || "any" in member ? this.group(member, drop) : this.one(member, drop);
            });
            const add = member => () => {
                members.push(member());
                this.changed();
            };
            return make("div", {className: "rule-group"}, head, ...drawn, make("div", {className: "rule-buttons"},
                link("Add a rule", add(() => this.fresh())),
                link("Add a group", add(() => ({[how === "all" ? "any" : "all"]: [this.fresh()]}))),
            ));
        }

        one(rule, remove) {
            const operator = dropdown(OPERATORS.map(each => [each, each]), rule.operator, "Operator", event => {
                rule.operator = event.target.value;
                if (ALONE.includes(rule.operator)) {
                    delete rule.right;
                } else {
                    rule.right ??= {value: ""};
                    if ("value" in rule.right) {
                        rule.right.value = this.fitting(rule.right.value, rule.operator);
                    }
                }
                this.changed();
            });
            const right = ALONE.includes(rule.operator) ? [] : this.side(rule, "right", true);
            return make("div", {className: "rule-one"}, ...this.side(rule, "left", false), operator, ...right,
                Object.assign(link("\u2715", remove), {ariaLabel: "Remove this rule", title: "Remove this rule"}));
        }

        fitting(value, operator) {
            const listed = Array.isArray(value) ? value : String(value ?? "").split(",").map(each => each.trim());
            return operator === "in" ? listed.filter(each => each) : listed.join(", ");
        }

        side(rule, name, values) {
            const side = rule[name];
            const [kind, value] = Object.entries(side)[0];
            const kinds = [
                ...(values ? [["value", "the value"]] : []),
                ["source", "column"],
                ...(this.offers.fields ? [["target", "field in Salesforce"]] : []),
                ...(values && this.offers.parameters.length ? [["parameter", "parameter"]] : []),
            ];
            const lists = {
                source: this.offers.columns.map(each => [each, each]),
                target: this.offers.fields || [],
                parameter: this.offers.parameters.map(each => [each, `@${each}`]),
            };
            const which = dropdown(kinds, kind, "What is compared", event => {
                const first = (lists[event.target.value] || [])[0];
                rule[name] = {[event.target.value]: first ? first[0] : ""};
                this.changed();
            });
            const set = text => {
                rule[name] = {[kind]: kind === "value" ? this.fitting(text, rule.operator) : text};
                this.write();
            };
            const entered = lists[kind]?.length
                ? dropdown(lists[kind], value, "Which one", event => set(event.target.value))
                : make("input", {
                    type: "text",
                    className: "vTextField",
                    ariaLabel: kind === "value" ? "Value" : "Name",
                    placeholder: rule.operator === "in" ? "a, b, c" : "",
                    value: this.fitting(value, ""),
                    oninput: event => set(event.target.value),
                });
            return kinds.length > 1 ? [which, entered] : [entered];
        }
    }

    document.addEventListener("DOMContentLoaded", () => {
        for (const place of document.querySelectorAll("[data-rule]")) {
            new Builder(place);
        }
    });
})();
