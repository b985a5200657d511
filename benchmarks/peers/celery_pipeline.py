"""FastAPI, SQLAlchemy's ORM and Celery: a commit, a task and a call to the portal for each dossier.

Intake is ``uvicorn benchmarks.peers.celery_pipeline:api``, the worker ``celery -A
benchmarks.peers.celery_pipeline:tasks worker``. A dossier that was answered with 202 is committed
and its task confirmed by a quorum queue; a task is acknowledged after its last commit. What is sent
again does no harm.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

import requests
from celery import Celery
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from benchmarks.peers.model import (
    AMQP,
    INTAKE,
    PORTAL,
    QUEUE,
    STORE,
    Dossier,
    Stored,
    Taken,
    driver,
)

api = FastAPI()
tasks = Celery("benchmark", broker=AMQP)
tasks.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    task_default_queue=QUEUE,
    task_default_queue_type="quorum",
    task_default_exchange_type="topic",  # Celery wants one for quorum queues
)
_intake = create_engine(driver(INTAKE, "psycopg"), pool_size=40)
_store = create_engine(driver(STORE, "psycopg"))
_http = requests.Session()


def _opened() -> Any:
    with Session(_intake) as session:
        yield session


@api.post("/dossiers", status_code=202)
def take_in(dossier: Dossier, session: Annotated[Session, Depends(_opened)]) -> dict[str, str]:
    """Store a dossier and ask for its delivery."""
    body = dossier.model_dump(mode="json")
    session.add(Taken(code=dossier.code, body=body))
    try:
        session.commit()
    except IntegrityError:  # handed in again: the worker drops what it has
        session.rollback()
    deliver.delay(body)
    return {"code": dossier.code}


@tasks.task(
    autoretry_for=(requests.RequestException, OperationalError, ValueError),
    retry_backoff=True,
    max_retries=None,
)
def deliver(body: dict[str, Any]) -> None:
    """Store a dossier, tell the portal, and put down that it knows."""
    with Session(_store, expire_on_commit=False) as session:
        found = session.get(Stored, body["code"])
        if found is None:
            found = Stored(code=body["code"], body=body)
            session.add(found)
            session.commit()
        if found.known_at is not None:
            return
        told = _http.post(PORTAL, json={"data": [body]}, timeout=10).json()
        if told["error_code"] != "0":
            raise ValueError(told)
        found.known_at = datetime.now(UTC)
        session.commit()
