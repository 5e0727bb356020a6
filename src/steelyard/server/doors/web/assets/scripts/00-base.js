// What every page gains with a script: commands are copied by a button, menus close as menus do. Nothing needs it.
for (const block of document.querySelectorAll("pre[data-copy]")) {
  const frame = document.createElement("div");
  const button = document.createElement("button");
  frame.className = "copied";
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${block.dataset.copy || "this command"}`);
  block.replaceWith(frame);
  frame.append(block, button);
  button.addEventListener("click", async () => {
    button.textContent = (await copy(block)) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// Without TLS browsers give no clipboard to scripts: then the text is chosen, and the older way is tried.
async function copy(block) {
  try {
    await navigator.clipboard.writeText(block.innerText);
    return true;
  } catch {
    const range = document.createRange();
    range.selectNodeContents(block);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  }
}

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
