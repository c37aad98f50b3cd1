//! What a switch is on the target: a directory of ours with the inverse, the files it needs, the deadline and a claim, and
//! something that waits. Only a POSIX shell is needed; systemd or at make it survive a reboot.
//!
//! Whoever makes the hard link `claim` first decides: to `timer` it fires, to `run` it is disarmed. The deadline may be
//! moved on as long as there is no claim; whoever waits looks at it again after its claim, so that a deadline moved on in
//! time always counts.

use std::collections::BTreeMap;

use crate::secret::Secret;

/// What every script begins with: finds the directory `$D` of the switch `$1`.
const HEAD: &str = r#"
umask 077
U=$(id -u); B=/var/tmp/upgrade-host-$U; S=$B/deadman; D=$S/$1; N=upgrade-host-deadman-$1.service
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
sound() { [ ! -L "$1" ] && [ -d "$1" ] && [ "$(stat -c %u "$1")" = "$U" ]; }
waits() {
  [ -s "$D/pid" ] && read -r p <"$D/pid" && kill -0 "$p" 2>/dev/null &&
    tr '\000' ' ' <"/proc/$p/cmdline" 2>/dev/null | grep -qF "$D/fire"
}
alive() {
  case $(cat "$D/by" 2>/dev/null) in
    systemd) systemctl is-enabled "$N" >/dev/null 2>&1 && systemctl is-active "$N" >/dev/null 2>&1 ;;
    at) atq 2>/dev/null | awk '{ print $1 }' | grep -qxF -f "$D/jobs" || waits ;;
    *) waits ;;
  esac
}
say() {
  if ! sound "$B" || ! sound "$D"; then echo none
  elif [ -e "$D/fired" ]; then cat "$D/fired"
  elif [ "$(cat "$D/claim" 2>/dev/null)" = timer ]; then echo firing
  elif alive; then echo armed
  # It may have ended by firing just now.
  elif [ -e "$D/fired" ]; then cat "$D/fired"
  else echo dead; fi
}
due() {
  read -r up rest </proc/uptime
  echo "$(($(date +%s) + $1)) $(cat /proc/sys/kernel/random/boot_id) $((${up%%.*} + $1 + 1))" >"$D/due.new" &&
    mv "$D/due.new" "$D/due"
}
stop() {
  case $(cat "$D/by" 2>/dev/null) in
    # Only what waits: what the inverse of one that fired has started is to stay.
    systemd) [ "$(cat "$D/claim" 2>/dev/null)" = timer ] || systemctl kill -s KILL "$N" >/dev/null 2>&1
      systemctl disable --now "$N" >/dev/null 2>&1; rm -f "/etc/systemd/system/$N"
      systemctl daemon-reload >/dev/null 2>&1; systemctl reset-failed "$N" >/dev/null 2>&1 ;;
    at) while read -r j; do atrm "$j" 2>/dev/null; done <"$D/jobs" ;;
  esac
  if waits; then kill -- "-$p" 2>/dev/null || kill "$p" 2>/dev/null; fi
  :
}
"#;

/// Waits and fires; it is copied into the directory. `$1` is what waits: `systemd`, `at` or `sh`.
pub(super) const FIRE: &str = r#"#!/bin/sh
# A dead-man switch of upgrade-host: takes a change back unless the run that made it says otherwise in time.
D=${0%/*}; cd "$D" || exit 0
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
trap '' HUP
left() {
  read -r epoch boot uptime 2>/dev/null <due || return 1
  # The clock may be set meanwhile; within one boot the kernel's counts.
  if [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
    read -r up rest </proc/uptime; n=$((uptime - ${up%%.*}))
  else n=$((epoch - $(date +%s))); fi
}
again() { echo "sh '$D/fire' at" | at now + "$1" minutes 2>&1 | sed -n 's/^job \([0-9]*\) .*/\1/p' >>jobs; }
if [ "$1" = at ]; then
  left || exit 0
  [ ! -e claim ] || exit 0
  if [ "$n" -gt 60 ]; then again $(((n + 59) / 60)); exit 0; fi
  # Should the power fail while it waits for the rest.
  [ "$n" -le 0 ] || again 2
fi
echo $$ >pid.new && mv pid.new pid || exit 0
while :; do
  left && [ ! -e claim ] || exit 0
  if [ "$n" -gt 0 ]; then
    [ "$n" -le 2 ] || n=2
    sleep "$n"
    continue
  fi
  ln timer claim 2>/dev/null || exit 0
  left || exit 0
  [ "$n" -gt 0 ] || break
  rm -f claim
done
UH_FILES=$D/files; export UH_FILES
sh ./inverse </dev/null >out 2>&1; rc=$?
# A password may be among them.
rm -rf files
echo "fired $(date +%s) $rc" >fired.new && mv fired.new fired
if [ "$1" = systemd ]; then
  name=upgrade-host-deadman-${D##*/}.service
  systemctl disable "$name" >/dev/null 2>&1; rm -f "/etc/systemd/system/$name"
fi
exit 0
"#;

/// The last line of what [`bundle`] makes: without it, a part is missing.
const END: &str = ".end";

/// Puts the inverse and its files together for the standard input of [`ARM`]: each line with the name of its file before
/// it. No text of theirs ever is in an argument.
pub(super) fn bundle(inverse: &str, files: &BTreeMap<String, Secret>) -> Vec<u8> {
    let parts = files.iter().map(|(name, text)| (name.as_str(), text.reveal()));
    let mut all = Vec::new();
    for (name, text) in [("inverse", inverse)].into_iter().chain(parts) {
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            for piece in [name, ":", line, "\n"] {
                all.extend_from_slice(piece.as_bytes());
            }
        }
    }
    all.extend_from_slice(END.as_bytes());
    all.push(b'\n');
    all
}

/// Arms. $1 switch, $2 seconds, $3 the text of FIRE, $4 what it is for, $5 the names of the files, $6 the directory of
/// lock records; what [`bundle`] made comes over standard input.
const ARM: &str = r#"
mkdir "$B" 2>/dev/null; sound "$B" || { echo "$B belongs to somebody else" >&2; exit 1; }
mkdir "$S" 2>/dev/null; sound "$S" || { echo "$S belongs to somebody else" >&2; exit 1; }
if [ -e "$D" ]; then
  case $(say) in
    armed) due "$2" && { [ -e "$D/claim" ] || { echo "armed $(cat "$D/by")"; exit 0; }; } ;;
    firing) echo 'it is just firing' >&2; exit 75 ;;
  esac
  # An earlier one of the same call, which is over.
  stop; rm -rf "$D" || exit
fi
mkdir "$D" && cd "$D" || exit
# Half of it, or a password, must not stay.
give_up() { cd /; rm -rf "$D"; exit 1; }
part() { LC_ALL=C sed -n "s/^$1://p" parts; }
cat >parts || give_up
if [ "$(tail -n 1 parts)" != .end ]; then echo 'what is to take it back did not arrive whole' >&2; give_up; fi
mkdir files && part inverse >inverse || give_up
for f in $5; do part "$f" >"files/$f" || give_up; done
rm -f parts
printf '%s' "$3" >fire && printf '%s\n' "$4" >what && printf '%s\n' "$6" >locks && echo timer >timer && echo run >run && : >jobs && due "$2" || give_up
started() {
  i=0
  while [ "$i" -lt 50 ]; do
    if waits; then return 0; fi
    sleep 0.1 2>/dev/null || sleep 1
    i=$((i + 1))
  done
  return 1
}
if [ "$U" = 0 ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
  echo systemd >by
  what=$(printf '%s' "$4" | tr -cd 'A-Za-z0-9 ._/@:-')
  cat >"/etc/systemd/system/$N" <<END
[Unit]
Description=upgrade-host takes back: $what
[Service]
Type=simple
ExecStart=/bin/sh $D/fire systemd
# What the inverse started stays.
KillMode=process
[Install]
WantedBy=multi-user.target
END
  sync
  if { systemctl daemon-reload && systemctl enable "$N" && systemctl start "$N"; } >out 2>&1 && started && alive; then
    echo armed systemd; exit 0
  fi
  stop
fi
# By its own note: a process of that name may be of a container.
runs() {
  { read -r q </run/atd.pid || read -r q </var/run/atd.pid; } 2>/dev/null
  [ -n "$q" ] && grep -qx atd "/proc/$q/comm" 2>/dev/null
}
if command -v at >/dev/null 2>&1 && command -v atq >/dev/null 2>&1 && runs; then
  echo at >by
  echo "sh '$D/fire' at" | at now + $((($2 + 59) / 60)) minutes 2>&1 | sed -n 's/^job \([0-9]*\) .*/\1/p' >jobs
  sync
  if [ -s jobs ] && alive; then echo armed at; exit 0; fi
  stop
fi
echo sh >by
if command -v setsid >/dev/null 2>&1; then setsid sh "$D/fire" sh </dev/null >/dev/null 2>&1 &
else (trap '' HUP; exec sh "$D/fire" sh) </dev/null >/dev/null 2>&1 &
fi
if started; then echo armed sh; exit 0; fi
echo 'neither systemd nor at nor a process in the background can wait on this target' >&2; give_up
"#;

/// Disarms. $1 switch; $2 is `clear` to remove one that fired and is on record.
const DISARM: &str = r#"
sound "$B" && sound "$D" || { echo none; exit 0; }
if ln "$D/run" "$D/claim" 2>/dev/null || [ "$(cat "$D/claim" 2>/dev/null)" = run ]; then
  stop; said=armed
else
  said=$(say)
  case $said in
    fired*) ;;
    *) echo "$said"; exit 0 ;;
  esac
  [ "$2" = clear ] || { echo "$said"; exit 0; }
  stop
fi
rm -rf "$D" || exit
rmdir "$S" 2>/dev/null; rmdir "$B" 2>/dev/null
echo "$said"
"#;

/// Moves the deadline on, unless another run holds the target: then it says `other RUN`. $1 switch, $2 seconds, $3 the
/// directory of lock records, $4 our run.
const EXTEND: &str = r#"
r=; { read -r e r p <"$3/upgrade-host-lock-$U/holder"; } 2>/dev/null
[ -z "$r" ] || [ "$r" = "$4" ] || { echo "other $r"; exit 0; }
sound "$B" && sound "$D" || { echo none; exit 0; }
[ -e "$D/claim" ] || due "$2" || exit
say
"#;

/// Lists the switches there are: a line `SWITCH STATE DUE WHAT` each, with the deadline in seconds since the epoch and the
/// state as [`look`] says it, in one word. $1 the directory of lock records of those that are wanted; all of them if none.
const LIST: &str = r#"
sound "$B" && sound "$S" || exit 0
wanted=$1
for D in "$S"/*; do
  sound "$D" || continue
  read -r locks <"$D/locks" || locks=
  [ -z "$wanted" ] || [ "$wanted" = "$locks" ] || continue
  N=upgrade-host-deadman-${D##*/}.service
  set -- $(say)
  read -r epoch rest <"$D/due" || epoch=0
  read -r what <"$D/what" || what=
  echo "${D##*/} $1 $epoch $what"
done 2>/dev/null
"#;

/// What the scripts about one switch begin with.
const NAMED: &str = r#"
case $1 in ''|*/*|.*) echo "no switch: $1" >&2; exit 2 ;; esac
"#;

fn with_head(script: &str) -> String {
    format!("{HEAD}{NAMED}{script}")
}

/// Returns the script that arms.
pub(super) fn arm() -> String {
    with_head(ARM)
}

/// Returns the script that only looks. It says `none`, `armed`, `dead`, `firing` or `fired EPOCH STATUS`, as all do.
pub(super) fn look() -> String {
    with_head("say\n")
}

/// Returns the script that disarms; it says `armed` if it did.
pub(super) fn disarm() -> String {
    with_head(DISARM)
}

/// Returns the script that lists.
pub(super) fn list() -> String {
    format!("{HEAD}{LIST}")
}

/// Returns the script that moves the deadline on.
pub(super) fn extend() -> String {
    with_head(EXTEND)
}
