#!/bin/sh
# What a suite does that makes its own Kind cluster with Podman: covtap run is around it.
# Arguments: name of the cluster, node image, archive of the service's image.
set -eu
cluster=$1 node_image=$2 archive=$3
here=$(dirname "$0")
kubectl() { command kubectl --context "kind-$cluster" "$@"; }

kind create cluster --name "$cluster" --image "$node_image"
kind load image-archive "$archive" --name "$cluster"
kubectl apply -f "$here/service.yaml"
kubectl rollout status deployment/numbered --timeout=120s
kind delete cluster --name "$cluster"
