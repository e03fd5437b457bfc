// Shows the columns and fields of what was just chosen, as the button of that name does.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("input[name=_refresh]");
    if (!button) {
        return;
    }
    const place = "sfsync-sync-form";
    const top = sessionStorage.getItem(place);
    if (top !== null) {
        sessionStorage.removeItem(place);
        window.scrollTo(0, Number(top));
    }
    const remember = () => sessionStorage.setItem(place, String(window.scrollY));
    for (const each of document.querySelectorAll("input[name=_refresh], input[name=_renew], button[name=_try]")) {
        each.addEventListener("click", remember);
    }
    for (const name of ["source", "destination", "source_table", "source_path", "object"]) {
        const field = document.getElementById(`id_${name}`);
        if (field && field.tagName === "SELECT") {
            field.addEventListener("change", () => {
                remember();
                button.form.requestSubmit(button);
            });
        }
    }
});
