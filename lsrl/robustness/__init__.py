"""Noise on the weights of compiled models: measured (`measure`) and predicted (`predict`)."""

from __future__ import annotations

from lsrl.robustness.noise import SIGMAS, Measurement, Point, Trial, disturbed, make_trial, measure
from lsrl.robustness.prediction import Prediction, predict
from lsrl.robustness.promise import Promise, promise
from lsrl.robustness.report import Row, draw_plot, render_json, render_table

__all__ = ["SIGMAS", "Measurement", "Point", "Prediction", "Promise", "Row", "Trial", "disturbed", "draw_plot",
           "make_trial", "measure", "predict", "promise", "render_json", "render_table"]
