# docker build -t fathom .                     an image that runs Fathom
# docker build --target test -t fathom-test .  also runs the linters, the type checker and the tests
# docker run --rm -v "$PWD/runs:/work/runs" fathom train ppo CartPole-v1
FROM python:3.11-slim AS base
# g++ compiles long trainings.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
# PyTorch for processors, which is a tenth as large; for a GPU: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir "torch>=2.10,<2.14" --index-url $TORCH_INDEX --extra-index-url https://pypi.org/simple
WORKDIR /fathom
COPY . .

FROM base AS test
RUN pip install --no-cache-dir -e ".[dev]"
RUN ruff check . && mypy && lint-imports && OMP_NUM_THREADS=1 pytest -n 2 --dist worksteal

FROM base AS fathom
RUN pip install --no-cache-dir ".[onnx]"
RUN useradd --create-home fathom && mkdir -p /work/runs && chown -R fathom /work
USER fathom
WORKDIR /work
ENTRYPOINT ["fathom"]
CMD ["--help"]
