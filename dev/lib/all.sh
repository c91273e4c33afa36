# shellcheck shell=bash
# Sourced by the scripts of dev/: what they are made of.
source "$(dirname "${BASH_SOURCE[0]}")/machine.sh"
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"
source "$(dirname "${BASH_SOURCE[0]}")/fetch.sh"
source "$(dirname "${BASH_SOURCE[0]}")/certificates.sh"
source "$(dirname "${BASH_SOURCE[0]}")/kafka.sh"
source "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"
source "$(dirname "${BASH_SOURCE[0]}")/roles.sh"
