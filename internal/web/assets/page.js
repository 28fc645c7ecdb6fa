// Nothing here is needed: it searches while one types, and shows what is new.
(() => {
  "use strict";
  const every = 30000, form = document.getElementById("search");
  let under;

  // show puts the live parts of another page in the place of ours.
  async function show(address, parts) {
    if (under) under.abort();
    under = new AbortController();
    try {
      const answer = await fetch(address, {signal: under.signal, headers: {Accept: "text/html"}});
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const now = document.getElementById(part), next = page.getElementById(part);
        if (now && next && part === "hits") { if (now.textContent !== next.textContent) now.textContent = next.textContent; } // heard where it changes, and nowhere else
        else if (now && next && !now.contains(document.activeElement)) now.replaceWith(next);
      }
      document.title = page.title;
    } catch (error) {
      const asof = document.getElementById("asof"), silent = " (anycert does not answer)";
      if (error.name !== "AbortError" && !asof.textContent.endsWith(silent)) asof.textContent += silent;
    }
  }

  if (form) {
    const search = () => {
      const fields = new URLSearchParams(new FormData(form));
      for (const [name, value] of [...fields]) if (!value || value === "urgency") fields.delete(name);
      const shown = fields.size ? "./?" + fields : "./";
      history.replaceState(null, "", shown);
      return show(shown, ["hits", "found"]);
    };
    let soon;
    form.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(search, 20); });
    form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  }
  setInterval(() => { if (!document.hidden) show(location.href, ["asof", "state", "hits", "found", "around"]); }, every);
})();
