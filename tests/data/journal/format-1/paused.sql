PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE runs (
        id TEXT PRIMARY KEY, runbook TEXT NOT NULL, title TEXT NOT NULL, targets TEXT NOT NULL, operator TEXT NOT NULL,
        version TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, due TEXT, settings TEXT NOT NULL);
INSERT INTO runs VALUES('20261128-1205-usmp','book.rhai','Paused in the middle','["local"]','jim@example','0.1.0','paused','2026-11-28T12:05:38.14857095Z','2026-11-28T12:05:38.370548472Z',NULL,'{"params":{"":{},"local":{}},"secrets":{},"inventory":{"targets":{},"template":{"name":"","local":false,"address":"","port":22,"user":"root","identities":[],"known_hosts":[],"host_key":null,"host_key_alias":null,"jump":[],"sudo":null,"password":null,"passphrase":null,"agent":true,"connect_timeout":{"secs":15,"nanos":0},"silence":{"secs":13,"nanos":0},"ssh_config":"usual","given":[],"tags":[],"params":{}},"ad_hoc":true},"services":{"web":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null}},"app":null,"reconnect_ms":300000}');
CREATE TABLE sources (
        run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (run, position)) WITHOUT ROWID;
INSERT INTO sources VALUES('20261128-1205-usmp',0,'book.rhai',replace('//! Paused in the middle\nstep("counted", || {\n  sh("echo one >>ran", #{ undo: "echo undo-one >>ran" });\n  warn("the next one takes long");\n  sh("echo two >>ran; touch began; until test -e go; do sleep 0.05; done", #{ undo: "echo undo-two >>ran" });\n  sh("echo three >>ran", #{ undo: "echo undo-three >>ran" });\n});\n','\n',char(10)));
CREATE TABLE records (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, seq)) WITHOUT ROWID;
INSERT INTO records VALUES('20261128-1205-usmp',1,'2026-11-28T12:05:38.152522198Z','{"kind":"step","lane":"main","step":"counted","begins":true,"ok":true}');
INSERT INTO records VALUES('20261128-1205-usmp',2,'2026-11-28T12:05:38.167648226Z','{"kind":"intent","call":{"lane":"main","step":"counted","action":"sh","nth":1},"access":"change","target":"local","summary":"run `echo one >>ran`","action":{"words":"echo one >>ran","ok":[0],"undo":"echo undo-one >>ran"},"before":null,"inverse":{"inverse":"action","name":"exec_undo","action":{"words":"echo undo-one >>ran","ok":[0]},"summary":"run `echo undo-one >>ran`"},"opens":null,"closes":null,"place":{"file":"book.rhai","line":3,"column":3}}');
INSERT INTO records VALUES('20261128-1205-usmp',3,'2026-11-28T12:05:38.188473105Z','{"kind":"outcome","call":{"lane":"main","step":"counted","action":"sh","nth":1},"outcome":{"outcome":"done","value":{"code":0,"stdout":"","stderr":""},"changed":true}}');
INSERT INTO records VALUES('20261128-1205-usmp',4,'2026-11-28T12:05:38.199913974Z','{"kind":"note","text":"the next one takes long","warning":true}');
INSERT INTO records VALUES('20261128-1205-usmp',5,'2026-11-28T12:05:38.207166104Z','{"kind":"intent","call":{"lane":"main","step":"counted","action":"sh","nth":2},"access":"change","target":"local","summary":"run `echo two >>ran; touch began; until test -e go; do sleep 0.05; done`","action":{"words":"echo two >>ran; touch began; until test -e go; do sleep 0.05; done","ok":[0],"undo":"echo undo-two >>ran"},"before":null,"inverse":{"inverse":"action","name":"exec_undo","action":{"words":"echo undo-two >>ran","ok":[0]},"summary":"run `echo undo-two >>ran`"},"opens":null,"closes":null,"place":{"file":"book.rhai","line":5,"column":3}}');
INSERT INTO records VALUES('20261128-1205-usmp',6,'2026-11-28T12:05:38.370165504Z','{"kind":"step","lane":"main","step":"counted","begins":false,"ok":false}');
INSERT INTO records VALUES('20261128-1205-usmp',7,'2026-11-28T12:05:38.370548472Z','{"kind":"ended","status":"paused","failed":[],"message":"interrupted; nothing more is under way"}');
CREATE TABLE debts (
        run TEXT NOT NULL REFERENCES runs(id), target TEXT NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
        locks_out INTEGER NOT NULL, since TEXT NOT NULL, due TEXT, kept TEXT,
        PRIMARY KEY (run, target, key)) WITHOUT ROWID;
COMMIT;
PRAGMA user_version=1;
