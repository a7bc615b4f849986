# docker build -t despur . && docker run --rm -v "$PWD:/data" despur audit /data/base /data/adapter -o /data/audit
FROM python:3.12-slim
ARG TORCH="torch>=2.6"
RUN pip install --no-cache-dir "$TORCH"
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir ".[table]"
RUN useradd --create-home despur
USER despur
WORKDIR /data
ENTRYPOINT ["despur"]
CMD ["--help"]
