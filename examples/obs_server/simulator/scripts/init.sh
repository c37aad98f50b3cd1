#!/bin/sh
### BEGIN INIT INFO
# Provides:          @NAME@
# Required-Start:    $remote_fs $network
# Required-Stop:     $remote_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Simulated backup server
# Description:       Knows start and stop only, and always ends with status 1.
### END INIT INFO
# chkconfig: 2345 99 01

home=@HOME@
OBSR_PID=@PID@
export OBSR_PID
user=@USER@

run() {
    if [ -n "$user" ]; then
        su "$user" -s /bin/sh -c "OBSR_PID='$OBSR_PID' sh '$home/bin/$1'"
    else
        sh "$home/bin/$1"
    fi
}

pause=$("$home/jvm/bin/obs-jvm" get --home "$home" init_sleep_s 2>/dev/null)

case "$1" in
start)
    echo "Starting the backup server."
    run startup.sh
    sleep "${pause:-1}"
    ;;
stop)
    echo "Stopping the backup server."
    run shutdown.sh
    sleep "${pause:-1}"
    ;;
*)
    echo "Usage: $0 {start|stop}"
    ;;
esac

exit 1
