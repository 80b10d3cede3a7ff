const players = [...document.querySelectorAll("audio, video")];
for (const player of players) {
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
    player.closest("figure").classList.add("playing");
  });
  player.addEventListener("pause", () => player.closest("figure").classList.remove("playing"));
  player.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = player.closest("tr, .cells"), place = [...row.querySelectorAll("audio, video")].indexOf(player);
    const column = (line) => line && [...line.querySelectorAll("audio, video")][place];
    const next = {
      ArrowRight: row.querySelectorAll("audio, video")[place + 1], ArrowLeft: row.querySelectorAll("audio, video")[place - 1],
      ArrowDown: column(row.nextElementSibling), ArrowUp: column(row.previousElementSibling),
    }[event.key];
    if (next) { event.preventDefault(); next.focus(); }
  });
}
