// A picture that is wider than the window begins with the version it is about in the middle, not with its oldest parent.
for (const frame of document.querySelectorAll(".lineage-picture")) {
  const here = frame.querySelector(".picture-here");
  if (!here || frame.scrollWidth <= frame.clientWidth) continue;
  const box = here.getBoundingClientRect();
  frame.scrollLeft += box.left + box.width / 2 - frame.getBoundingClientRect().left - frame.clientWidth / 2;
}
