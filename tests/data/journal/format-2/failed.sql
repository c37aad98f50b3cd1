PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE runs (
        id TEXT PRIMARY KEY, runbook TEXT NOT NULL, title TEXT NOT NULL, targets TEXT NOT NULL, operator TEXT NOT NULL,
        version TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, due TEXT, settings TEXT NOT NULL,
        sum TEXT);
INSERT INTO runs VALUES('20261128-1227-7ku3','book.rhai','Something is still off','["local"]','jim@example','0.1.0','failed','2026-11-28T12:27:29.213740878Z','2026-11-28T12:27:29.414899893Z',NULL,'{"params":{"":{},"local":{}},"secrets":{},"inventory":{"targets":{},"template":{"name":"","local":false,"address":"","port":22,"user":"root","identities":[],"known_hosts":[],"host_key":null,"host_key_alias":null,"jump":[],"sudo":null,"password":null,"passphrase":null,"agent":true,"connect_timeout":{"secs":15,"nanos":0},"silence":{"secs":13,"nanos":0},"ssh_config":"usual","given":[],"tags":[],"params":{}},"ad_hoc":true},"services":{"web":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null}},"app":null,"reconnect_ms":300000}','5ea67c2b69eb8f08');
CREATE TABLE sources (
        run TEXT NOT NULL REFERENCES runs(id), position INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL,
        sum TEXT, PRIMARY KEY (run, position)) WITHOUT ROWID;
INSERT INTO sources VALUES('20261128-1227-7ku3',0,'book.rhai',replace('//! Something is still off\nstep("stop", || {\n  point_of_no_return("as the example wants it");\n  service_stop("web", #{ deadman: "1h" });\n});\n','\n',char(10)),'c01717fdf1e4708a');
CREATE TABLE records (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        sum TEXT, PRIMARY KEY (run, seq)) WITHOUT ROWID;
INSERT INTO records VALUES('20261128-1227-7ku3',1,'2026-11-28T12:27:29.217372908Z','{"kind":"step","lane":"main","step":"stop","begins":true,"ok":true}','93dd765a72144153');
INSERT INTO records VALUES('20261128-1227-7ku3',2,'2026-11-28T12:27:29.218620101Z','{"kind":"call","call":{"lane":"main","step":"stop","action":"point_of_no_return","nth":1},"access":"ask","target":"local","summary":"point of no return: as the example wants it","action":{"why":"as the example wants it"},"outcome":{"outcome":"done","value":null,"changed":false},"closes":null,"place":{"file":"book.rhai","line":3,"column":3}}','cc4faca1562ff848');
INSERT INTO records VALUES('20261128-1227-7ku3',3,'2026-11-28T12:27:29.24093576Z','{"kind":"intent","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"access":"change","target":"local","summary":"stop service web","action":{"name":"web","commands":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null},"timeout_ms":null,"deadman":{"after_ms":3600000}},"before":{"running":true,"up":true,"manager":"commands","evidence":["status: ended with 0"]},"inverse":{"inverse":"action","name":"service_start","action":{"name":"web","commands":{"start":"touch up","stop":"rm -f up","status":"test -e up","pid_file":null,"process":null,"port":null,"url":null,"manager":null},"timeout_ms":null},"summary":"start service web"},"opens":{"key":"service web","what":"service web running","locks_out":true},"closes":null,"place":{"file":"book.rhai","line":4,"column":3}}','07663d2c4f577866');
INSERT INTO records VALUES('20261128-1227-7ku3',4,'2026-11-28T12:27:29.242915894Z','{"kind":"deadman","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"target":"local","key":"service web","what":"stop service web","after_ms":3600000,"state":{"deadman":"arming","due":"2026-11-28T13:27:29.242902256Z"}}','768297b6673e27b5');
INSERT INTO records VALUES('20261128-1227-7ku3',5,'2026-11-28T12:27:29.371373574Z','{"kind":"deadman","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"target":"local","key":"service web","what":"stop service web","after_ms":3600000,"state":{"deadman":"armed","due":"2026-11-28T13:27:29.371345713Z","by":"sh","reboot":false}}','70bf61ee6a5d9fd8');
INSERT INTO records VALUES('20261128-1227-7ku3',6,'2026-11-28T12:27:29.397982278Z','{"kind":"outcome","call":{"lane":"main","step":"stop","action":"service_stop","nth":1},"outcome":{"outcome":"done","value":true,"changed":true}}','a7bc6c5552072b89');
INSERT INTO records VALUES('20261128-1227-7ku3',7,'2026-11-28T12:27:29.399590833Z','{"kind":"step","lane":"main","step":"stop","begins":false,"ok":true}','aa3ac16dfbed8179');
INSERT INTO records VALUES('20261128-1227-7ku3',8,'2026-11-28T12:27:29.414899893Z','{"kind":"ended","status":"failed","failed":[],"message":"the script has ended, but something that it switched off is still off"}','fe684b4e744b2b6c');
CREATE TABLE debts (
        run TEXT NOT NULL REFERENCES runs(id), target TEXT NOT NULL, key TEXT NOT NULL, what TEXT NOT NULL,
        locks_out INTEGER NOT NULL, since TEXT NOT NULL, due TEXT, kept TEXT,
        sum TEXT, PRIMARY KEY (run, target, key)) WITHOUT ROWID;
INSERT INTO debts VALUES('20261128-1227-7ku3','local','service web','service web running',1,'2026-11-28T12:27:29.24093576Z',NULL,NULL,'6ff6df57a2ce62fc');
COMMIT;
PRAGMA user_version=2;
