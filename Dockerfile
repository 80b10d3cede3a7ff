# Affekt in a container, for the CPU and for NVIDIA GPUs (`docker run --gpus all`):
#   docker build --tag affekt .
#   docker run --rm --volume "$PWD/out:/affekt/out" affekt make demo
#   docker run --rm --publish 127.0.0.1:7860:7860 affekt          the studio
# PyTorch's usual build brings CUDA with it; for a small image without it name the index of its CPU builds:
#   docker build --tag affekt --build-arg TORCH_INDEX=ADDRESS .
FROM python:3.11-slim-bookworm

# `make demo` needs make; all packages come as wheels, so that no compiler is needed
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make=4.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 affekt \
    && install -d -o affekt /affekt
USER 1000
WORKDIR /affekt

ARG TORCH_INDEX=
COPY --chown=1000 constraints.txt ./
RUN python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"

# the studio and the server, Ray, content credentials; `make demo` finds the installation done
COPY --chown=1000 . .
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt -e ".[apps,ray,provenance]" \
    && touch .venv/installed

ENV PATH="/affekt/.venv/bin:$PATH" AFFEKT_CACHE=/affekt/.cache/affekt
VOLUME ["/affekt/.cache", "/affekt/out"]
EXPOSE 7860 8420
CMD ["affekt", "studio", "--share-lan", "--port", "7860"]
