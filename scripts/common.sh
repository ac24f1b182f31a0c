# shellcheck shell=bash
# What setup, quickstart and test share. Sourced from the top folder of the tree.
logs=$PWD/build/logs
mkdir -p "$logs"

fail() {
  echo "$*" >&2
  exit 1
}

# Prints the comment at the head of the calling script.
usage() {
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
  exit
}

# line NAME TEXT [SECONDS]: the one line of a step.
line() {
  printf '%-10s %s%s\n' "$1" "$2" "${3:+ ($3 s)}"
}

# The most telling line of a log: the first error, else the last line.
last_error() {
  grep -m1 -A4 'CMake Error' "$1" | tr -s ' \n' ' ' | grep . ||
    grep -m1 -E '(: |^)(fatal |internal )?error:|^E: ' "$1" || tail -n 1 "$1"
}

# step NAME DONE ADVICE COMMAND...: runs the command into build/logs/NAME.log and prints one line.
step() {
  local name=$1 done=$2 advice=$3 start=$SECONDS log=$logs/$1.log
  shift 3
  "$@" >"$log" 2>&1 || fail "$name failed after $((SECONDS - start)) s; $advice (log: $log): $(last_error "$log")"
  line "$name" "$done" $((SECONDS - start))
}

# Compiler processes at a time: all cores, but 1.5 GB of free memory for each.
job_count() {
  local cores free limit
  cores=$(nproc)
  free=$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo)
  if limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null) && [[ $limit =~ ^[0-9]+$ ]]; then
    limit=$((limit / 1048576 - $(cat /sys/fs/cgroup/memory.current) / 1048576))
    ((limit < free)) && free=$limit
  fi
  local fit=$((free / 1536))
  ((fit < 1)) && fit=1
  echo $((fit < cores ? fit : cores))
}
