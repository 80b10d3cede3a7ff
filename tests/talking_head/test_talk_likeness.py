"""Another person is far, the same one near; a trembling head is told from a still one."""

import numpy as np
from faces import face, picture, portrait, tracker

from talking_head.evaluation.likeness import descriptor, distance, jitter
from talking_head.face.points import coefficients


def test_the_same_person_is_near_and_a_changed_face_far():
    photograph = descriptor(picture(), face())
    moved = portrait().frame(coefficients({"jawOpen": 0.5, "mouthSmile": 0.5}), np.array([0.03, 0.05, 0.0]))
    near = distance(photograph, descriptor(moved, tracker().face(moved)))
    turned = np.ascontiguousarray(picture()[::-1])
    assert distance(photograph, photograph) < 1e-6
    assert near < 0.1 < distance(photograph, descriptor(turned, face()))


def test_trembling_is_counted_and_gliding_is_not():
    steps = np.arange(20)[:, None, None] * (0.5, 0.0, 0.0)
    glide = [face()._replace(landmarks=face().landmarks + step) for step in steps]
    noise = np.random.default_rng(0).normal(0, 0.5, (20, 478, 3))
    tremble = [face()._replace(landmarks=face().landmarks + step) for step in noise]
    assert jitter(glide) < 1e-6 < 1 < jitter(tremble)
