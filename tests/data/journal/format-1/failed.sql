PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE runs (
        id TEXT PRIMARY KEY, runbook TEXT NOT NULL, title TEXT NOT NULL, targets TEXT NOT NULL, operator TEXT NOT NULL,
        version TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, due TEXT, settings TEXT NOT NULL);
INSERT INTO runs VALUES('20261128-1205-e8rn','book.rhai','Something is still off','["local"]','jim@example','0.1.0','failed','2026-11-28T12:05:37.142707737Z','2026-11-28T12:05:37.415891788Z',NULL,'{"params":{"":{},"local":{}},"secrets":{},"inventory":{"targets":{},"template":{"name":"","local":false,"address":"","port":22,"user":"root","identities":[],"known_hosts":[],"host_key":null,"host_key_alias":null,"jump":[],"sudo":null,"password":null,"passphrase":null,"agent":true,"connect_timeout":{"secs":15,"nanos":0},"silence":{"secs":13,"nanos":0},"ssh_config":"usual","given":[],"tags":[],"params":{}},"ad_hoc":true},"services":{"web":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null}},"app":null,"reconnect_ms":300000}');
CREATE TABLE sources (
        run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (run, position)) WITHOUT ROWID;
INSERT INTO sources VALUES('20261128-1205-e8rn',0,'book.rhai',replace('//! Something is still off\nstep("stop", || {\n  point_of_no_return("as the example wants it");\n  service_stop("web", #{ deadman: "1h" });\n});\n','\n',char(10)));
CREATE TABLE records (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, seq)) WITHOUT ROWID;
INSERT INTO records VALUES('20261128-1205-e8rn',1,'2026-11-28T12:05:37.145932481Z','{"kind":"step","lane":"main","step":"stop","begins":true,"ok":true}');
INSERT INTO records VALUES('20261128-1205-e8rn',2,'2026-11-28T12:05:37.146821707Z','{"kind":"call","call":{"lane":"main","step":"stop","action":"point_of_no_return","nth":1},"access":"ask","target":"local","summary":"point of no return: as the example wants it","action":{"why":"as the example wants it"},"outcome":{"outcome":"done","value":null,"changed":false},"closes":null,"place":{"file":"book.rhai","line":3,"column":3}}');
INSERT INTO records VALUES('20261128-1205-e8rn',3,'2026-11-28T12:05:37.175710566Z','{"kind":"intent","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"access":"change","target":"local","summary":"stop service web","action":{"name":"web","commands":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null},"timeout_ms":null,"deadman":{"after_ms":3600000}},"before":{"running":true,"up":true,"manager":"commands","evidence":["status: ended with 0"]},"inverse":{"inverse":"action","name":"service_start","action":{"name":"web","commands":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null},"timeout_ms":null},"summary":"start service web"},"opens":{"key":"service web","what":"service web running","locks_out":true},"closes":null,"place":{"file":"book.rhai","line":4,"column":3}}');
INSERT INTO records VALUES('20261128-1205-e8rn',4,'2026-11-28T12:05:37.178733644Z','{"kind":"deadman","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"target":"local","key":"service web","what":"stop service web","after_ms":3600000,"state":{"deadman":"arming","due":"2026-11-28T13:05:37.178720061Z"}}');
INSERT INTO records VALUES('20261128-1205-e8rn',5,'2026-11-28T12:05:37.332174862Z','{"kind":"deadman","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"target":"local","key":"service web","what":"stop service web","after_ms":3600000,"state":{"deadman":"armed","due":"2026-11-28T13:05:37.332146805Z","by":"sh","reboot":false}}');
INSERT INTO records VALUES('20261128-1205-e8rn',6,'2026-11-28T12:05:37.387545744Z','{"kind":"outcome","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"outcome":{"outcome":"done","value":true,"changed":true}}');
INSERT INTO records VALUES('20261128-1205-e8rn',7,'2026-11-28T12:05:37.388695895Z','{"kind":"step","lane":"main","step":"stop","begins":false,"ok":true}');
INSERT INTO records VALUES('20261128-1205-e8rn',8,'2026-11-28T12:05:37.415891788Z','{"kind":"ended","status":"failed","failed":[],"message":"the script has ended, but something that it switched off is still off"}');
CREATE TABLE debts (
        run TEXT NOT NULL REFERENCES runs(id), target TEXT NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
        locks_out INTEGER NOT NULL, since TEXT NOT NULL, due TEXT, kept TEXT,
        PRIMARY KEY (run, target, key)) WITHOUT ROWID;
INSERT INTO debts VALUES('20261128-1205-e8rn','local','service web','service web running',1,'2026-11-28T12:05:37.175710566Z',NULL,NULL);
COMMIT;
PRAGMA user_version=1;
