"""Deployments: a ReplicaSet per version of the template, and the walk from one to the next.

:mod:`~controllers.deployment.plan` decides everything as a function of the Deployment, its ReplicaSets and the time;
:mod:`~controllers.deployment.loop` watches, asks it, and writes. The rest are the plan's nouns: ``template`` (hashes and
names), ``revision`` (the annotations behind ``kubectl rollout history``), ``strategy`` (surge, unavailability, proportions) and
``status`` (what ``kubectl rollout status`` reads).
"""
