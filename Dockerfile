# One image for every service; docker-compose.yml says which command each one runs.

FROM python:3.11-slim AS build
RUN python -m venv /opt/firebreak
ENV PATH=/opt/firebreak/bin:$PATH
WORKDIR /src
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY firebreak ./firebreak
COPY workflows ./workflows
COPY activities ./activities
COPY providers ./providers
COPY drills ./drills
RUN pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin firebreak \
 && install --directory --owner firebreak /run/sandbox /run/sandbox/aws /run/sandbox/azure /run/sandbox/authority
COPY --from=build /opt/firebreak /opt/firebreak
ENV PATH=/opt/firebreak/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /run/sandbox
USER 10001
CMD ["firebreak", "--help"]
