"""A small folder like EMOPIA's, written from notes."""

import csv

import symusic

from music.training.emopia import part_of_song


def write_midi(path, notes):
    """Notes (n, 4) in seconds as a MIDI file."""
    score = symusic.Score(480)
    track = symusic.Track()
    for start, end, pitch, loud in notes:
        ticks = round(start * 960), max(round((end - start) * 960), 1)
        track.notes.append(symusic.Note(*ticks, int(pitch), int(loud)))
    score.tracks.append(track)
    score.tempos.append(symusic.Tempo(0, 120))
    score.dump_midi(path)


def write_clips(data, compose, wanted):
    """Notes of ``compose(quadrant, seed)``: per quadrant and part of the split as many songs as ``wanted`` says."""
    (data / "emopia" / "midis").mkdir(parents=True)
    rows = []
    for quadrant in (1, 2, 3, 4):
        left, seed = dict(wanted), 0
        while any(left.values()):
            song, seed = f"song{quadrant}x{seed}", seed + 1
            if not left[part_of_song(song)]:
                continue
            left[part_of_song(song)] -= 1
            write_midi(data / "emopia" / "midis" / f"{song}.mid", compose(quadrant, seed))
            rows.append({"file": f"midis/{song}.mid", "quadrant": f"Q{quadrant}", "song": song})
    with open(data / "emopia" / "labels.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
