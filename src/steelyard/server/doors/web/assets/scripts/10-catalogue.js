// The catalogue is searched while somebody types: the same page is asked for, and what it found is put in place here.
{
  const form = document.querySelector("form[data-catalogue]");
  const PARTS = ["results", "filters"];
  const PAUSE_MS = 200;
  let waiting;
  let asked;
  let isLost = false; // then a form is sent as without a script

  const address = () => {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (value && !(name === "sort" && value === "updated")) query.append(name, value);
    }
    const text = query.toString();
    return form.getAttribute("action") + (text ? `?${text}` : "");
  };

  const say = (words) => { document.getElementById("found").textContent = words; };

  const show = async (url) => {
    asked?.abort();
    asked = new AbortController();
    const { signal } = asked;
    document.getElementById("results").setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(url, { signal, headers: { Accept: "text/html" } });
      if (answer.redirected) return location.assign(url);
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (signal.aborted) return;
      for (const id of PARTS) document.getElementById(id).replaceWith(page.getElementById(id));
      document.querySelector("footer.site").replaceWith(page.querySelector("footer.site"));
      document.querySelector(".to-filters").replaceWith(page.querySelector(".to-filters"));
      history.replaceState(history.state, "", url);
      say(page.getElementById("found").textContent.trim().replace(/\s+/g, " "));
    } catch (error) {
      if (error.name === "AbortError") return;
      isLost = true;
      document.getElementById("results").removeAttribute("aria-busy");
      say("The search did not answer. Press Enter to try again.");
    }
  };

  if (form) {
    form.addEventListener("input", (event) => {
      if (event.target.name !== "search" || event.isComposing) return;
      clearTimeout(waiting);
      waiting = setTimeout(() => show(address()), PAUSE_MS);
    });
    form.addEventListener("compositionend", () => show(address()));
    form.addEventListener("change", (event) => {
      if (event.target.name === "sort") show(address());
    });
    form.addEventListener("submit", (event) => {
      if (isLost) return;
      event.preventDefault();
      clearTimeout(waiting);
      show(address());
    });
  }
}
