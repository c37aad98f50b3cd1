//! The shell texts that run on the target. Only a POSIX sh is needed there; what forks in them is what they cost, so
//! builtins do what they can.
//!
//! A call with the path prefix `f` leaves, in the run's directory of mode 0700 (which is what keeps others out: the
//! launcher must not change the mask that the command inherits):
//!
//! | file | what |
//! | --- | --- |
//! | `f.start` | the guard, made with `O_EXCL` by whoever starts the command: process id and boot id of the launcher |
//! | `f.cmd` | the command, for people |
//! | `f.pid` | made with `O_EXCL` by the command's own shell before it begins: process id, group, start time, boot id; or `void`, by one who found that the launcher had died before that: then the command's shell gives up |
//! | `f.out`, `f.err` | its output |
//! | `f.rc` | its status; it counts once its newline is there |
//! | `f.live` | somebody follows the output, so the launcher need not send it |
//! | `f.ended` | why we ended it |

use crate::transport::group::end_group;

/// Prints the run's directory, made if it is not there. `$1` run.
pub(super) const PREPARE: &str = r#"
u=$(id -u) || exit
base=/var/tmp/upgrade-host-$u
if [ -L "$base" ]; then echo "$base is a symbolic link" >&2; exit 1; fi
umask 077
mkdir -p "$base" || exit
o=$(stat -c %u "$base" 2>/dev/null) || o=$(ls -ldn "$base" | { read -r m l o r; echo "$o"; })
[ "$o" = "$u" ] || { echo "$base belongs to somebody else" >&2; exit 1; }
chmod 700 "$base" || exit
if [ -L "$base/$1" ]; then echo "$base/$1 is a symbolic link" >&2; exit 1; fi
mkdir -p "$base/$1" || exit
echo "$base/$1"
"#;

/// The beginning of all that look at a call. `look` sets `state` to `none`, `starting`, `void`, `running`, `ended` (with
/// `r`), `reboot`, `killed`, or `torn`: what was to say that it begins is not whole. `open_yet` also says whether it may
/// still begin, after `n` looks: what is torn becomes whole at once or never.
macro_rules! look {
    () => {
        r#"
{ read -r b </proc/sys/kernel/random/boot_id; } 2>/dev/null || b=none
# Whether process $1 is still the one that began at $2.
same() {
  if { read -r s <"/proc/$1/stat"; } 2>/dev/null; then
    s=${s##*) }
    w=$2
    set -- $s
    [ "$1" != Z ] && [ "$1" != X ] && { [ "$w" = 0 ] || [ "${20}" = "$w" ]; }
  elif [ -r /proc/self/stat ]; then
    return 1
  else
    kill -s 0 "$1" 2>/dev/null
  fi
}
look() {
  if { read -r r <"$f.rc"; } 2>/dev/null; then state=ended; return; fi
  if { read -r p g t pb <"$f.pid"; } 2>/dev/null; then
    if [ "$p" = void ]; then state=void
    elif [ "$pb" != "$b" ]; then state=reboot
    elif same "$p" "$t"; then state=running
    # It may have ended between the two looks.
    elif { read -r r <"$f.rc"; } 2>/dev/null; then state=ended
    else state=killed
    fi
  elif { read -r lp lt lb <"$f.start"; } 2>/dev/null; then
    # Started, but its shell has not said so: either it will in a moment, or its launcher died before.
    if [ "$lb" = "$b" ] && same "$lp" "$lt"; then state=starting
    else
      set -C
      { echo void >"$f.pid"; } 2>/dev/null
      set +C
      state=torn
    fi
  elif [ -e "$f.start" ]; then state=torn
  else state=none
  fi
}
open_yet() {
  look
  [ "$state" = starting ] || { [ "$state" = torn ] && [ "$n" -lt 20 ]; }
}
"#
    };
}

/// Says what became of a call. `$1` mark, `$2` directory, `$3` call.
pub(super) const LOOKUP: &str = concat!(
    r#"m=$1; f=$2/$3"#,
    look!(),
    r#"
n=0
while open_yet && [ "$n" -lt 50 ]; do
  n=$((n+1))
  sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
done
why=
{ read -r why <"$f.ended"; } 2>/dev/null
echo "$m $state ${r:-0} whole $why"
"#
);

/// Starts a call unless somebody did, waits for its end, and sends what it wrote. `$1` mark, `$2` directory, `$3` call,
/// `$4` command, `$5` how many bytes of standard input there are, `$6` and `$7` how much of its output is known already.
pub(super) const LAUNCH: &str = concat!(
    r#"m=$1; f=$2/$3; c=$4; o=$6; e=$7
if [ ! -d "$2" ]; then echo "$m nodir"; exit 0; fi"#,
    look!(),
    r#"
# $1 file, $2 how much of it is known.
send() {
  [ -s "$1" ] || return 0
  if [ "$2" = 0 ]; then cat "$1"; else tail -c "+$(($2 + 1))" "$1"; fi
}
new=
if [ ! -e "$f.start" ]; then
  i=/dev/null
  if [ "$5" != 0 ]; then
    i=$f.in.$$
    cat >"$i" || { rm -f "$i"; echo "$m nospace"; exit 0; }
    # Half of its input is no input.
    if [ "$(($(wc -c <"$i")))" != "$5" ]; then rm -f "$i"; echo "$m short"; exit 0; fi
  fi
  # Whose session this is: straight from sshd it is our own, and the command may stay in it.
  lt=0 own=
  if { read -r s </proc/$$/stat; } 2>/dev/null; then
    s=${s##*) }; set -- $s; lt=${20}
    [ "$4" != "$$" ] || own=$3
  fi
  set -C
  { echo "$$ $lt $b" >"$f.start"; } 2>/dev/null && new=1
  set +C
  # A full disk makes the guard and cannot write into it: nothing was started.
  if [ -z "$new" ] && [ ! -s "$f.start" ]; then
    [ ! -e "$f.start" ] || rm -f "$f.start"
    [ "$i" = /dev/null ] || rm -f "$i"
    echo "$m nospace"; exit 0
  fi
  if [ -n "$new" ]; then
    printf '%s\n' "$c" >"$f.cmd"
    exec 3<"$i"
    [ "$i" = /dev/null ] || rm -f "$i"
    # $1 the call, $2 boot id, $3 command, $4 the process group that is the command's alone: `own`, a number, or 0.
    child='
      trap "" HUP
      p=$$ g=$4 t=0
      if { read -r s </proc/self/stat; } 2>/dev/null; then
        p=${s%% *}; s=${s##*) }; set -- "$1" "$2" "$3" "$4" $s; t=${24}
      fi
      [ "$g" != own ] || g=$p
      set -C
      { echo "$p $g $t $2" >"$1.pid"; } 2>/dev/null || exit 0
      set +C
      trap - HUP
      # Told to end, with the command, it still waits for that to happen, and says how it did.
      trap : TERM
      (eval "$3")
      r=$?
      echo "$r" >"$1.rc"
    '
    # In the foreground: in the background a shell has its commands ignore interrupts.
    if [ -n "$own" ]; then
      (set -- "$f" "$b" "$c" "$own"; eval "$child") <&3 >"$f.out" 2>"$f.err" 3<&-
    elif command -v setsid >/dev/null 2>&1; then
      setsid sh -c "$child" sh "$f" "$b" "$c" own <&3 >"$f.out" 2>"$f.err" 3<&-
    else
      sh -c "$child" sh "$f" "$b" "$c" 0 <&3 >"$f.out" 2>"$f.err" 3<&-
    fi
    exec 3<&-
  elif [ "$i" != /dev/null ]; then rm -f "$i"
  fi
fi
n=0
while :; do
  look
  case $state in
    running) ;;
    starting) if [ "$n" -ge 100 ]; then break; fi ;;
    torn) if [ "$n" -ge 20 ]; then break; fi ;;
    *) break ;;
  esac
  n=$((n+1))
  sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
done
if [ "$state" = ended ] && [ ! -e "$f.live" ]; then
  send "$f.out" "$o"
  send "$f.err" "$e" >&2
fi
why=
[ ! -e "$f.ended" ] || read -r why <"$f.ended"
live=; [ ! -e "$f.live" ] || live=live
echo "$m $state ${r:-0} ${live:-whole} $why"
"#
);

/// Sends the output of a call as it comes, until its end. `$1` mark, `$2` directory, `$3` call, `$4` and `$5` how much of
/// it is known already.
pub(super) const FOLLOW: &str = concat!(
    r#"m=$1; f=$2/$3; o=$4; e=$5"#,
    look!(),
    r#"
umask 077
[ -d "$2" ] || exit 0
true >"$f.live"
# $1 file, $2 how much of it is known; sets k to how much there is.
more() {
  k=$2
  [ -s "$1" ] || return 0
  k=$(($(wc -c <"$1")))
  [ "$k" -gt "$2" ] || { k=$2; return 0; }
  tail -c "+$(($2 + 1))" "$1" | head -c "$((k - $2))"
}
idle=0
while :; do
  look
  was=$o.$e
  more "$f.out" "$o"; o=$k
  more "$f.err" "$e" >&2; e=$k
  case $state in
    running|starting) ;;
    torn) [ "$idle" -lt 20 ] || break ;;
    *) break ;;
  esac
  if [ "$was" = "$o.$e" ]; then idle=$((idle+1)); else idle=0; fi
  if [ "$idle" -lt 20 ]; then sleep 0.1 2>/dev/null || sleep 1; else sleep 0.5 2>/dev/null || sleep 1; fi
done
"#
);

/// Ends a call: its whole process group, for sure. `$1` mark, `$2` directory, `$3` call, `$4` why.
pub(super) const END: &str = concat!(
    r#"m=$1; f=$2/$3; umask 077"#,
    look!(),
    end_group!(),
    r#"
n=0
while open_yet && [ "$n" -lt 50 ]; do
  n=$((n+1))
  sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
done
if [ "$state" = none ]; then
  # So that a launcher that comes late does not start it.
  set -C
  { echo "0 0 void" >"$f.start"; } 2>/dev/null
  { echo void >"$f.pid"; } 2>/dev/null
  set +C
  look
fi
if [ "$state" = running ]; then
  printf '%s\n' "$4" >"$f.ended"
  if [ "$g" != 0 ]; then end_group
  else
    # No group of its own: only the shell itself is known to be ours.
    kill -s TERM "$p" 2>/dev/null; sleep 1; kill -s KILL "$p" 2>/dev/null
  fi
  if [ "$g" != 0 ] && alive; then echo "$m left"; exit 0; fi
fi
if [ "$state" = starting ]; then echo "$m left"; else echo "$m gone"; fi
"#
);

/// Ends every call of a run that still runs, but for those that take something back, whose names begin with `undo-`. `$1`
/// mark, `$2` directory, `$3` why.
pub(super) const END_ALL: &str = concat!(
    r#"m=$1; d=$2; why=$3; umask 077"#,
    look!(),
    end_group!(),
    r#"
left=
for c in "$d"/*.start; do
  f=${c%.start}
  [ -e "$c" ] || continue
  case ${f##*/} in undo-*) continue ;; esac
  n=0
  while open_yet && [ "$n" -lt 50 ]; do
    n=$((n+1))
    sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
  done
  [ "$state" != starting ] || left=1
  [ "$state" = running ] || continue
  printf '%s\n' "$why" >"$f.ended"
  if [ "$g" != 0 ]; then end_group; ! alive || left=1
  else kill -s TERM "$p" 2>/dev/null; sleep 1; kill -s KILL "$p" 2>/dev/null
  fi
done
if [ -z "$left" ]; then echo "$m gone"; else echo "$m left"; fi
"#
);

/// Lists what runs keep on this machine, a line each: `RUN USER CALLS RUNNING`. Root sees all, others their own.
pub(super) const LIST: &str = concat!(
    r#"me=$(id -u)"#,
    look!(),
    r#"
for base in /var/tmp/upgrade-host-[0-9]*; do
  [ -d "$base" ] && [ ! -L "$base" ] || continue
  u=${base##*-}
  [ "$me" = 0 ] || [ "$u" = "$me" ] || continue
  o=$(stat -c %u "$base" 2>/dev/null) || o=$(ls -ldn "$base" | { read -r a l o z; echo "$o"; })
  [ "$o" = "$u" ] || continue
  for d in "$base"/*/; do
    [ -d "$d" ] && [ ! -L "${d%/}" ] || continue
    # Dead-man switches are no run: an armed one is disarmed by the run that knows of it, or fires.
    [ "$d" != "$base/deadman/" ] || continue
    calls=0 running=0
    for c in "$d"*.start; do
      [ -e "$c" ] || continue
      calls=$((calls+1))
      f=${c%.start}
      { read -r p g t pb <"$f.pid"; } 2>/dev/null || continue
      { read -r r <"$f.rc"; } 2>/dev/null && continue
      [ "$p" != void ] && [ "$pb" = "$b" ] && same "$p" "$t" && running=$((running+1))
    done
    d=${d%/}
    echo "${d##*/} $u $calls $running"
  done
done
"#
);
