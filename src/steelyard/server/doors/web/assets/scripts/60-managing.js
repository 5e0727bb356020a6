// Managing and uploading with a script: what is wrong is said before anything is sent. Nothing needs it.

// What is typed to delete something has to be exactly that; the button waits for it.
for (const field of document.querySelectorAll("input[data-typed]")) {
  const button = field.form.querySelector("button");
  const look = () => { button.disabled = field.value.trim() !== field.dataset.typed; };
  field.addEventListener("input", look);
  look();
}

// After a form that failed, the page before has what was filled in; a link would load it empty.
for (const link of document.querySelectorAll("a[data-back]")) {
  link.addEventListener("click", (event) => {
    if (history.length > 1 && document.referrer === link.href) {
      event.preventDefault();
      history.back();
    }
  });
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  const problem = form.querySelector("[data-upload-problem]");
  const chosen = form.querySelector("[data-upload-chosen]");
  const button = form.querySelector("button");
  const version = form.elements.version;
  let suggested = version.value === "" ? "" : null;

  const files = () => [...form.elements.files.files, ...form.elements.folder.files];
  const size = (bytes) => bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const fault = (some) => {
    const bytes = some.reduce((sum, file) => sum + file.size, 0);
    if (some.length > Number(form.dataset.mostFiles)) return `These are ${some.length} files: too many for this page. Push them with the client.`;
    if (bytes > Number(form.dataset.mostBytes)) return `These are ${size(bytes)}: too much for this page. Push them with the client.`;
    return "";
  };
  const look = () => {
    const some = files();
    problem.textContent = fault(some);
    problem.hidden = problem.textContent === "";
    chosen.textContent = `${some.length} ${some.length === 1 ? "file" : "files"}, ${size(some.reduce((sum, file) => sum + file.size, 0))}.`;
    chosen.hidden = some.length === 0;
  };
  form.elements.files.addEventListener("change", look);
  form.elements.folder.addEventListener("change", look);

  // The next version of the model that is named, as long as nobody wrote one himself.
  form.elements.name.addEventListener("input", () => {
    if (suggested === null || version.value !== suggested) return;
    const named = [...document.querySelectorAll("#own-models option")].find((one) => one.value === form.elements.name.value);
    suggested = named ? named.dataset.following : form.elements.name.value === "" ? "" : "1.0.0";
    version.value = suggested;
  });

  form.addEventListener("submit", (event) => {
    look();
    if (files().length === 0) {
      problem.textContent = "Choose a file or a folder first.";
      problem.hidden = false;
    }
    if (!problem.hidden) {
      event.preventDefault();
      return;
    }
    button.disabled = true;
    chosen.textContent = `Uploading ${chosen.textContent}`;
  });
  addEventListener("pageshow", () => {
    button.disabled = false;
    look();
  });
}
