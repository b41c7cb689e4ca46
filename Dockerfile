# parity with what its live modes need; compose.yaml builds it. Everything is locked by hash.
FROM python:3.12-slim
WORKDIR /app
COPY requirements/demo.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/demo.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --create-home parity && mkdir /data && chown parity /data
USER parity
ENTRYPOINT ["parity"]
CMD ["--help"]
