//! The one shell text that ends a process group, for all who do that on a target.

/// With `$g` set to a process group: TERM, 5 s, KILL, 3 s; `alive` then says whether anything of it is left. Processes
/// that ended and wait to be collected do not count, where /proc tells.
macro_rules! end_group {
    () => {
        r#"
alive() {
  if [ -r /proc/self/stat ]; then
    for s in /proc/[0-9]*/stat; do
      { read -r l <"$s"; } 2>/dev/null || continue
      l=${l##*) }
      set -- $l
      [ "$3" = "$g" ] && [ "$1" != Z ] && [ "$1" != X ] && return 0
    done
    return 1
  fi
  kill -s 0 -- "-$g" 2>/dev/null
}
ends() {
  n=0
  while alive; do
    [ "$n" -ge "$1" ] && return 1
    n=$((n+1))
    sleep 0.1 2>/dev/null || { sleep 1; n=$((n+9)); }
  done
}
end_group() {
  kill -s TERM -- "-$g" 2>/dev/null
  ends 50 || { kill -s KILL -- "-$g" 2>/dev/null; ends 30; }
  :
}
"#
    };
}
pub(super) use end_group;
