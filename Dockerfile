# The grown form: one image for web, workers and beat (docker-compose.yml).
FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements.lock ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home sfsync && mkdir /data && chown sfsync /data
WORKDIR /app
COPY --from=build /venv /venv
COPY manage.py ./
COPY sfsync ./sfsync
COPY orgs ./orgs
COPY connections ./connections
COPY syncs ./syncs
COPY jobs ./jobs
COPY templates ./templates
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 SFSYNC_DATA=/data SFSYNC_LOG_FORMAT=json
USER sfsync
VOLUME /data
EXPOSE 8000
CMD ["gunicorn", "sfsync.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", "--threads", "8", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"]
