BEGIN TRANSACTION;
CREATE TABLE idempotency (
	"key" VARCHAR NOT NULL, 
	content VARCHAR NOT NULL, 
	result_id VARCHAR NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "idempotency" VALUES('invoice-7','{"amount": "20 USD", "operation": "fund", "wallet": "team"}','wal_000sebqkdkhm99wdvsq5zmmz0n',1790812260000086);
INSERT INTO "idempotency" VALUES('voucher','{"amount": "1000 evolink-credit", "operation": "fund", "wallet": "studio/east"}','wal_000sebqp3e48hkrvqkebz99y1a',1790812620000120);
INSERT INTO "idempotency" VALUES('job-1','{"action": "text_to_video", "amount": null, "model": "kling-3.0", "operation": "reserve", "payload": "sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568", "project": "film/teaser", "provider": "runapi", "resolution": "1080p", "seconds": "5", "sound": "true", "wallet": "team"}','res_000sebr8w86pd8zwt7gnwswq5x',1790812980000154);
INSERT INTO "idempotency" VALUES('job-2','{"action": "text_to_video", "amount": null, "model": "kling-3.0", "operation": "reserve", "payload": "sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568", "project": "film/teaser", "provider": "runapi", "resolution": "1080p", "seconds": "5", "sound": "true", "wallet": "team"}','res_000sebrkkjh7f0hm9eddvcgk8h',1790813700000222);
INSERT INTO "idempotency" VALUES('job-late','{"action": "text_to_video", "amount": null, "model": "kling-3.0", "operation": "reserve", "payload": "sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568", "project": "ads", "provider": "runapi", "resolution": "1080p", "seconds": "5", "sound": "true", "wallet": "team"}','res_000sebsygvvbq76tq33nq4c7gd',1790816580000494);
INSERT INTO "idempotency" VALUES('by-hand','{"action": null, "amount": "1.5 USD", "model": null, "operation": "reserve", "payload": null, "project": null, "provider": null, "resolution": null, "seconds": null, "sound": null, "wallet": "team"}','res_000sebv1cndk5kzk8y2qk7jwqm',1790818920000715);
CREATE TABLE job_event (
	reservation_id VARCHAR NOT NULL, 
	step INTEGER NOT NULL, 
	from_state VARCHAR, 
	to_state VARCHAR NOT NULL, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (reservation_id, step), 
	FOREIGN KEY(reservation_id) REFERENCES reservation (id)
);
INSERT INTO "job_event" VALUES('res_000sebr8w86pd8zwt7gnwswq5x',1,NULL,'reserved','ada',NULL,1790812980000154);
INSERT INTO "job_event" VALUES('res_000sebr8w86pd8zwt7gnwswq5x',2,'reserved','submitting','ada',NULL,1790813160000171);
INSERT INTO "job_event" VALUES('res_000sebr8w86pd8zwt7gnwswq5x',3,'submitting','submitted','ada',NULL,1790813340000188);
INSERT INTO "job_event" VALUES('res_000sebr8w86pd8zwt7gnwswq5x',4,'submitted','committed','ada',NULL,1790813520000205);
INSERT INTO "job_event" VALUES('res_000sebrkkjh7f0hm9eddvcgk8h',1,NULL,'reserved','ada',NULL,1790813700000222);
INSERT INTO "job_event" VALUES('res_000sebrkkjh7f0hm9eddvcgk8h',2,'reserved','submitting','ada',NULL,1790813880000239);
INSERT INTO "job_event" VALUES('res_000sebrkkjh7f0hm9eddvcgk8h',3,'submitting','submitted','ada',NULL,1790814060000256);
INSERT INTO "job_event" VALUES('res_000sebrvn2948mag11vstnth9v',1,NULL,'reserved','ada',NULL,1790814240000273);
INSERT INTO "job_event" VALUES('res_000sebrvn2948mag11vstnth9v',2,'reserved','submitting','ada',NULL,1790814420000290);
INSERT INTO "job_event" VALUES('res_000sebrvn2948mag11vstnth9v',3,'submitting','submitted','ada',NULL,1790814600000307);
INSERT INTO "job_event" VALUES('res_000sebrvn2948mag11vstnth9v',4,'submitted','committed','ada','the provider named no cost',1790814780000324);
INSERT INTO "job_event" VALUES('res_000sebs6ccknahzsmf1bsksebt',1,NULL,'reserved','ada',NULL,1790814960000341);
INSERT INTO "job_event" VALUES('res_000sebs6ccknahzsmf1bsksebt',2,'reserved','submitting','ada',NULL,1790815140000358);
INSERT INTO "job_event" VALUES('res_000sebs6ccknahzsmf1bsksebt',3,'submitting','in_doubt','ada','time-out',1790815320000375);
INSERT INTO "job_event" VALUES('res_000sebs6ccknahzsmf1bsksebt',4,'in_doubt','submitted','ada',NULL,1790815500000392);
INSERT INTO "job_event" VALUES('res_000sebs6ccknahzsmf1bsksebt',5,'submitted','committed','ada',NULL,1790815680000409);
INSERT INTO "job_event" VALUES('res_000sebskshgtn9hh3ny3r6daee',1,NULL,'reserved','ada',NULL,1790815860000426);
INSERT INTO "job_event" VALUES('res_000sebskshgtn9hh3ny3r6daee',2,'reserved','submitting','ada',NULL,1790816040000443);
INSERT INTO "job_event" VALUES('res_000sebskshgtn9hh3ny3r6daee',3,'submitting','submitted','ada',NULL,1790816220000460);
INSERT INTO "job_event" VALUES('res_000sebskshgtn9hh3ny3r6daee',4,'submitted','rolled_back','bob','the provider says that it failed',1790816400000477);
INSERT INTO "job_event" VALUES('res_000sebsygvvbq76tq33nq4c7gd',1,NULL,'reserved','ada',NULL,1790816580000494);
INSERT INTO "job_event" VALUES('res_000sebsygvvbq76tq33nq4c7gd',2,'reserved','submitting','ada',NULL,1790816760000511);
INSERT INTO "job_event" VALUES('res_000sebsygvvbq76tq33nq4c7gd',3,'submitting','rolled_back','bob','refused',1790816940000528);
INSERT INTO "job_event" VALUES('res_000sebsygvvbq76tq33nq4c7gd',4,'rolled_back','committed','bob','it is on the bill',1790817120000545);
INSERT INTO "job_event" VALUES('res_000sebt9865wserj6a0dnq03k1',1,NULL,'reserved','ada',NULL,1790817300000562);
INSERT INTO "job_event" VALUES('res_000sebt9865wserj6a0dnq03k1',2,'reserved','submitting','ada',NULL,1790817480000579);
INSERT INTO "job_event" VALUES('res_000sebt9865wserj6a0dnq03k1',3,'submitting','submitted','ada',NULL,1790817660000596);
INSERT INTO "job_event" VALUES('res_000sebt9865wserj6a0dnq03k1',4,'submitted','committed','ada',NULL,1790817840000613);
INSERT INTO "job_event" VALUES('res_000sebtkzggdvcdvsq5zmmz0n0',1,NULL,'reserved','ada',NULL,1790818020000630);
INSERT INTO "job_event" VALUES('res_000sebtkzggdvcdvsq5zmmz0n0',2,'reserved','submitting','ada',NULL,1790818200000647);
INSERT INTO "job_event" VALUES('res_000sebtsb5npc06qhambky8ypa',1,NULL,'reserved','ada',NULL,1790818380000664);
INSERT INTO "job_event" VALUES('res_000sebtsb5npc06qhambky8ypa',2,'reserved','submitting','ada',NULL,1790818560000681);
INSERT INTO "job_event" VALUES('res_000sebtsb5npc06qhambky8ypa',3,'submitting','in_doubt','ada','no answer',1790818740000698);
INSERT INTO "job_event" VALUES('res_000sebv1cndk5kzk8y2qk7jwqm',1,NULL,'reserved','ada',NULL,1790818920000715);
INSERT INTO "job_event" VALUES('res_000sebv42g07e7rf0hh3jgwtry',1,NULL,'reserved','ada',NULL,1790819100000732);
INSERT INTO "job_event" VALUES('res_000sebv42g07e7rf0hh3jgwtry',2,'reserved','expired','ada','its time was over',1790819280000749);
INSERT INTO "job_event" VALUES('res_000sebv9e55fz5drkypnhevqtx',1,NULL,'reserved','ada',NULL,1790819460000766);
INSERT INTO "job_event" VALUES('res_000sebv9e55fz5drkypnhevqtx',2,'reserved','expired','ada','its time was over',1790819640000783);
INSERT INTO "job_event" VALUES('res_000sebv9e55fz5drkypnhevqtx',3,'expired','committed','ada','billed',1790819820000800);
INSERT INTO "job_event" VALUES('res_000sebvhfmxcrwzg35kdg1fkxh',1,NULL,'reserved','ada',NULL,1790820000000817);
INSERT INTO "job_event" VALUES('res_000sebvhfmxcrwzg35kdg1fkxh',2,'reserved','submitting','ada',NULL,1790820180000834);
INSERT INTO "job_event" VALUES('res_000sebvhfmxcrwzg35kdg1fkxh',3,'submitting','submitted','ada',NULL,1790820360000851);
INSERT INTO "job_event" VALUES('res_000sebvhfmxcrwzg35kdg1fkxh',4,'submitted','committed','ada',NULL,1790820540000868);
INSERT INTO "job_event" VALUES('res_000sebvw6z7xtmh7jcg5em3g05',1,NULL,'reserved','ada',NULL,1790820720000885);
INSERT INTO "job_event" VALUES('res_000sebvw6z7xtmh7jcg5em3g05',2,'reserved','submitting','ada',NULL,1790820900000902);
INSERT INTO "job_event" VALUES('res_000sebvw6z7xtmh7jcg5em3g05',3,'submitting','submitted','ada',NULL,1790821080000919);
INSERT INTO "job_event" VALUES('res_000sebvw6z7xtmh7jcg5em3g05',4,'submitted','committed','ada',NULL,1790821260000936);
INSERT INTO "job_event" VALUES('res_000sebw6y9jewj6h5snqdj2d24',1,NULL,'reserved','ada',NULL,1790821440000953);
INSERT INTO "job_event" VALUES('res_000sebw6y9jewj6h5snqdj2d24',2,'reserved','submitting','ada',NULL,1790821620000970);
INSERT INTO "job_event" VALUES('res_000sebw6y9jewj6h5snqdj2d24',3,'submitting','submitted','ada',NULL,1790821800000987);
INSERT INTO "job_event" VALUES('res_000sebw6y9jewj6h5snqdj2d24',4,'submitted','committed','ada',NULL,1790821980001004);
INSERT INTO "job_event" VALUES('res_000sebwhnkwzysr8n0jfc4p94r',1,NULL,'reserved','ada',NULL,1790822160001021);
INSERT INTO "job_event" VALUES('res_000sebwmbefm7dh4cm0vbe0762',1,NULL,'reserved','ada',NULL,1790822340001038);
INSERT INTO "job_event" VALUES('res_000sebwmbefm7dh4cm0vbe0762',2,'reserved','submitting','ada',NULL,1790822520001055);
INSERT INTO "job_event" VALUES('res_000sebwmbefm7dh4cm0vbe0762',3,'submitting','submitted','ada',NULL,1790822700001072);
INSERT INTO "job_event" VALUES('res_000sebwmbefm7dh4cm0vbe0762',4,'submitted','committed','ada',NULL,1790822880001089);
INSERT INTO "job_event" VALUES('res_000sfm4dt4t5952vvtxka0m38p',1,NULL,'reserved','ada',NULL,1793587860001106);
INSERT INTO "job_event" VALUES('res_000sfm4dt4t5952vvtxka0m38p',2,'reserved','rolled_back','bob','cancelled',1793588040001123);
INSERT INTO "job_event" VALUES('res_000sfm4k5szdt2r5f8358yk0an',1,NULL,'reserved','bob',NULL,1793588220001140);
INSERT INTO "job_event" VALUES('res_000sfm4k5szdt2r5f8358yk0an',2,'reserved','submitting','bob',NULL,1793588400001157);
INSERT INTO "job_event" VALUES('res_000sfm4k5szdt2r5f8358yk0an',3,'submitting','rolled_back','bob','x',1793588580001174);
INSERT INTO "job_event" VALUES('res_000sfm4v79qakgdf2n8q7whxcm',1,NULL,'reserved','bob',NULL,1793588760001191);
INSERT INTO "job_event" VALUES('res_000sfm4v79qakgdf2n8q7whxcm',2,'reserved','submitting','bob',NULL,1793588940001208);
INSERT INTO "job_event" VALUES('res_000sfm4v79qakgdf2n8q7whxcm',3,'submitting','submitted','bob',NULL,1793589120001225);
INSERT INTO "job_event" VALUES('res_000sfm4v79qakgdf2n8q7whxcm',4,'submitted','committed','bob',NULL,1793589300001242);
CREATE TABLE ledger_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "ledger_schema" VALUES(1);
CREATE TABLE reservation (
	id VARCHAR NOT NULL, 
	wallet_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	reserved_micro BIGINT NOT NULL, 
	committed_micro BIGINT, 
	settled_by VARCHAR, 
	project VARCHAR, 
	provider VARCHAR, 
	model VARCHAR, 
	action VARCHAR, 
	seconds VARCHAR, 
	billed_seconds INTEGER, 
	resolution VARCHAR, 
	sound BOOLEAN, 
	usd_micro BIGINT, 
	quote VARCHAR, 
	request VARCHAR, 
	payload_hash VARCHAR, 
	address VARCHAR, 
	task_id VARCHAR, 
	videos VARCHAR, 
	problem VARCHAR, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT reservation_state_is_known CHECK (state IN ('reserved', 'submitting', 'submitted', 'in_doubt', 'committed', 'rolled_back', 'expired')), 
	CONSTRAINT reservation_is_of_something CHECK (reserved_micro > 0), 
	CONSTRAINT reservation_commits_no_less_than_nothing CHECK (committed_micro >= 0), 
	CONSTRAINT reservation_has_an_amount_once_committed CHECK ((state = 'committed') = (committed_micro IS NOT NULL)), 
	FOREIGN KEY(wallet_id) REFERENCES wallet (id)
);
INSERT INTO "reservation" VALUES('res_000sebr8w86pd8zwt7gnwswq5x','wal_000sebqkdkhm99wdvsq5zmmz0n','committed','USD',675000,600000,'provider','film/teaser','runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_1','["https://cdn.example/1.mp4"]',NULL,1790812980000154,1790813520000205);
INSERT INTO "reservation" VALUES('res_000sebrkkjh7f0hm9eddvcgk8h','wal_000sebqkdkhm99wdvsq5zmmz0n','submitted','USD',675000,NULL,NULL,'film/teaser','runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_2',NULL,NULL,1790813700000222,1790814060000256);
INSERT INTO "reservation" VALUES('res_000sebrvn2948mag11vstnth9v','wal_000sebqkdkhm99wdvsq5zmmz0n','committed','USD',675000,675000,'quote','film/opening','runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_3',NULL,'the provider named no cost',1790814240000273,1790814780000324);
INSERT INTO "reservation" VALUES('res_000sebs6ccknahzsmf1bsksebt','wal_000sebqkdkhm99wdvsq5zmmz0n','committed','USD',675000,700000,'provider',NULL,'runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_4',NULL,'time-out',1790814960000341,1790815680000409);
INSERT INTO "reservation" VALUES('res_000sebskshgtn9hh3ny3r6daee','wal_000sebqkdkhm99wdvsq5zmmz0n','rolled_back','USD',675000,NULL,NULL,'ads','runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_5',NULL,'the provider says that it failed',1790815860000426,1790816400000477);
INSERT INTO "reservation" VALUES('res_000sebsygvvbq76tq33nq4c7gd','wal_000sebqkdkhm99wdvsq5zmmz0n','committed','USD',675000,675000,'person','ads','runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_6',NULL,'refused',1790816580000494,1790817120000545);
INSERT INTO "reservation" VALUES('res_000sebt9865wserj6a0dnq03k1','wal_000sebqkdkhm99wdvsq5zmmz0n','committed','USD',675000,0,'provider',NULL,'runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123','task_7',NULL,NULL,1790817300000562,1790817840000613);
INSERT INTO "reservation" VALUES('res_000sebtkzggdvcdvsq5zmmz0n0','wal_000sebqkdkhm99wdvsq5zmmz0n','submitting','USD',675000,NULL,NULL,NULL,'runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123',NULL,NULL,NULL,1790818020000630,1790818200000647);
INSERT INTO "reservation" VALUES('res_000sebtsb5npc06qhambky8ypa','wal_000sebqkdkhm99wdvsq5zmmz0n','in_doubt','USD',675000,NULL,NULL,NULL,'runapi','kling-3.0','text_to_video','5',5,'1080p',1,675000,'{"provider": "runapi", "model": "kling-3.0", "action": "text_to_video", "seconds": 5, "billed_seconds": 5, "resolution": "1080p", "sound": true, "multi_shot": false, "voice": false, "video_input": false, "elements": false, "frames": "none", "orientation": null, "input_seconds": null, "unit": "USD", "per": "second", "rate": "0.135", "rate_usd": "0.135", "amount": "0.675", "low": "0.675", "expected": "0.675", "high": "0.675", "usd": "0.675", "evidence": "published", "source": "https://github.com/runapi-ai/mcp/blob/cdc4e95c4861e9c8d123177d0166285fd9f1d347/data/pricing.json", "checked": "2026-11-20", "note": "A later table in RunAPI''s public repository (2026-07-23) lists twice these figures. The live schedule, GET /api/v1/price_schedules, decides.", "book": "sha256:8009472903e83a94b0149dd552cca6c1978ae35a42e8f037fbf2911747aacd5a", "rate_id": "kling-3.0", "at": "2026-10-01T00:00:00.000137+00:00", "expires_at": "2026-10-02T00:00:00.000137+00:00", "lines": [{"label": "1080p with sound", "quantity": "5", "per": "second", "unit_price": "0.135", "amount": "0.675"}], "warnings": [], "assumptions": []}','{"model": "kling-3.0", "prompt": "a lake at sunrise – l''été", "duration_seconds": 5, "output_resolution": "1080p", "enable_sound": true}','sha256:ed809aed96ff73afc04e72a45c6db293da9681af7889bef7a52701053d923568','http://127.0.0.1:8123',NULL,NULL,'no answer',1790818380000664,1790818740000698);
INSERT INTO "reservation" VALUES('res_000sebv1cndk5kzk8y2qk7jwqm','wal_000sebqkdkhm99wdvsq5zmmz0n','reserved','USD',1500000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1790818920000715,1790818920000715);
INSERT INTO "reservation" VALUES('res_000sebv42g07e7rf0hh3jgwtry','wal_000sebqkdkhm99wdvsq5zmmz0n','expired','USD',1000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1790819100000732,1790819280000749);
INSERT INTO "reservation" VALUES('res_000sebv9e55fz5drkypnhevqtx','wal_000sebqkdkhm99wdvsq5zmmz0n','committed','USD',1000000,900000,'person',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1790819460000766,1790819820000800);
INSERT INTO "reservation" VALUES('res_000sebvhfmxcrwzg35kdg1fkxh','wal_000sebqp3e48hkrvqkebz99y1a','committed','evolink-credit',50000000,33000000,'provider','film/teaser','evolink','kling-v3','text_to_video','5',5,'720p',0,333333,NULL,NULL,NULL,NULL,'evo-0.333333-33',NULL,NULL,1790820000000817,1790820540000868);
INSERT INTO "reservation" VALUES('res_000sebvw6z7xtmh7jcg5em3g05','wal_000sebqp3e48hkrvqkebz99y1a','committed','evolink-credit',50000000,50000000,'provider','film/teaser','evolink','kling-v3','text_to_video','5',5,'720p',0,500000,NULL,NULL,NULL,NULL,'evo-0.5-50',NULL,NULL,1790820720000885,1790821260000936);
INSERT INTO "reservation" VALUES('res_000sebw6y9jewj6h5snqdj2d24','wal_000sebqp3e48hkrvqkebz99y1a','committed','evolink-credit',50000000,7000000,'provider','film/teaser','evolink','kling-v3','text_to_video','5',5,'720p',0,100000,NULL,NULL,NULL,NULL,'evo-0.1-7',NULL,NULL,1790821440000953,1790821980001004);
INSERT INTO "reservation" VALUES('res_000sebwhnkwzysr8n0jfc4p94r','wal_000sebqp3e48hkrvqkebz99y1a','reserved','evolink-credit',50000000,NULL,NULL,'film/teaser','evolink','kling-v3','text_to_video','5',5,'720p',0,100000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1790822160001021,1790822160001021);
INSERT INTO "reservation" VALUES('res_000sebwmbefm7dh4cm0vbe0762','wal_000sebqp3e48hkrvqkebz99y1a','committed','evolink-credit',50000000,80000000,'provider','film/teaser','evolink','kling-v3','text_to_video','5',5,'720p',0,200000,NULL,NULL,NULL,NULL,'evo-0.2-80',NULL,NULL,1790822340001038,1790822880001089);
INSERT INTO "reservation" VALUES('res_000sfm4dt4t5952vvtxka0m38p','wal_000sebqp3e48hkrvqkebz99y1a','rolled_back','evolink-credit',50000000,NULL,NULL,NULL,'evolink','kling-v3','text_to_video','5',5,'720p',0,500000,NULL,NULL,NULL,NULL,NULL,NULL,'cancelled',1793587860001106,1793588040001123);
INSERT INTO "reservation" VALUES('res_000sfm4k5szdt2r5f8358yk0an','wal_000sebqrs8pwtdn9kd5hyxyx1z','rolled_back','CNY',3300000,NULL,NULL,NULL,'uniall','kling-v2-6',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'x',1793588220001140,1793588580001174);
INSERT INTO "reservation" VALUES('res_000sfm4v79qakgdf2n8q7whxcm','wal_000sebqrs8pwtdn9kd5hyxyx1z','committed','CNY',3300000,2200000,'provider',NULL,'uniall','kling-v2-6',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'u1',NULL,NULL,1793588760001191,1793589300001242);
CREATE TABLE transfer (
	id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	debit_account VARCHAR NOT NULL, 
	credit_account VARCHAR NOT NULL, 
	amount_micro BIGINT NOT NULL, 
	unit VARCHAR NOT NULL, 
	wallet_id VARCHAR NOT NULL, 
	reservation_id VARCHAR, 
	actor VARCHAR NOT NULL, 
	reason VARCHAR, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT transfer_moves_something CHECK (amount_micro BETWEEN 1 AND 9007199254740991), 
	CONSTRAINT transfer_has_two_sides CHECK (debit_account <> credit_account), 
	FOREIGN KEY(wallet_id) REFERENCES wallet (id), 
	FOREIGN KEY(reservation_id) REFERENCES reservation (id)
);
INSERT INTO "transfer" VALUES('txf_000sebqy4xw5b1e5b0kxy78v39','fund','funding','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',20000000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n',NULL,'ada','first payment',1790812260000086);
INSERT INTO "transfer" VALUES('txf_000sebr0treskvak6tb3xvxt3y','fund','funding','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',1,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n',NULL,'bob',NULL,1790812440000103);
INSERT INTO "transfer" VALUES('txf_000sebr3gk1dw5712m29xgjs4k','fund','funding','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available',1000000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a',NULL,'ada',NULL,1790812620000120);
INSERT INTO "transfer" VALUES('txf_000sebr66dm24z3eydsfx57r58','fund','funding','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/available',100000000,'CNY','wal_000sebqrs8pwtdn9kd5hyxyx1z',NULL,'bob',NULL,1790812800000137);
INSERT INTO "transfer" VALUES('txf_000sebr8w86pd2wap17vwehp6j','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebr8w86pd8zwt7gnwswq5x','ada',NULL,1790812980000154);
INSERT INTO "transfer" VALUES('txf_000sebrgxqyk6wrrhtz1w36n77','commit','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','provider/runapi',600000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebr8w86pd8zwt7gnwswq5x','ada',NULL,1790813520000205);
INSERT INTO "transfer" VALUES('txf_000sebrgxqyk6pn6dmp7vqvm7w','return','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',75000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebr8w86pd8zwt7gnwswq5x','ada',NULL,1790813520000205);
INSERT INTO "transfer" VALUES('txf_000sebrkkjh7fae2584kv15j96','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebrkkjh7f0hm9eddvcgk8h','ada',NULL,1790813700000222);
INSERT INTO "transfer" VALUES('txf_000sebrvn2948y6xwvjztafgag','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebrvn2948mag11vstnth9v','ada',NULL,1790814240000273);
INSERT INTO "transfer" VALUES('txf_000sebs3pj11283brna5sz4fb5','commit','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','provider/runapi',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebrvn2948mag11vstnth9v','ada','the provider named no cost',1790814780000324);
INSERT INTO "transfer" VALUES('txf_000sebs6ccknavw7g8rhs8edcf','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebs6ccknahzsmf1bsksebt','ada',NULL,1790814960000341);
INSERT INTO "transfer" VALUES('txf_000sebsh3py6cnrnc2fqrx3cd4','commit','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','provider/runapi',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebs6ccknahzsmf1bsksebt','ada',NULL,1790815680000409);
INSERT INTO "transfer" VALUES('txf_000sebsh3py6czn37w6xrhrbds','overrun','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','provider/runapi',25000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebs6ccknahzsmf1bsksebt','ada',NULL,1790815680000409);
INSERT INTO "transfer" VALUES('txf_000sebskshgtn3dyzfn9qv29f3','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebskshgtn9hh3ny3r6daee','ada',NULL,1790815860000426);
INSERT INTO "transfer" VALUES('txf_000sebsvv18qexacv9cfqfq8fr','roll_back','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebskshgtn9hh3ny3r6daee','bob','the provider says that it failed',1790816400000477);
INSERT INTO "transfer" VALUES('txf_000sebsygvvbq138jwtvps16h2','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebsygvvbq76tq33nq4c7gd','ada',NULL,1790816580000494);
INSERT INTO "transfer" VALUES('txf_000sebt3wh0m8azpepj1pdp5hq','roll_back','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebsygvvbq76tq33nq4c7gd','bob','refused',1790816940000528);
INSERT INTO "transfer" VALUES('txf_000sebt6jbk8gmw4ag97p2b4jc','late_commit','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','provider/runapi',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebsygvvbq76tq33nq4c7gd','bob','it is on the bill',1790817120000545);
INSERT INTO "transfer" VALUES('txf_000sebt9865ws8n023qknbn2kp','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebt9865wserj6a0dnq03k1','ada',NULL,1790817300000562);
INSERT INTO "transfer" VALUES('txf_000sebth9nxsjjhdxxesn0a1mb','return','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebt9865wserj6a0dnq03k1','ada',NULL,1790817840000613);
INSERT INTO "transfer" VALUES('txf_000sebtkzggdv6a9ngx5m9kznn','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebtkzggdvcdvsq5zmmz0n0','ada',NULL,1790818020000630);
INSERT INTO "transfer" VALUES('txf_000sebtsb5npca35d4bhkjxxpz','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',675000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebtsb5npc06qhambky8ypa','ada',NULL,1790818380000664);
INSERT INTO "transfer" VALUES('txf_000sebv1cndk5xw14qsxjw7vr9','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',1500000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebv1cndk5kzk8y2qk7jwqm','ada',NULL,1790818920000715);
INSERT INTO "transfer" VALUES('txf_000sebv42g07e1mwwb89j5hssk','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',1000000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebv42g07e7rf0hh3jgwtry','ada',NULL,1790819100000732);
INSERT INTO "transfer" VALUES('txf_000sebv6rajvpvhar4zfht6rt8','roll_back','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',1000000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebv42g07e7rf0hh3jgwtry','ada','its time was over',1790819280000749);
INSERT INTO "transfer" VALUES('txf_000sebv9e55fzfa6frdvh3gpvj','reserve','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved',1000000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebv9e55fz5drkypnhevqtx','ada',NULL,1790819460000766);
INSERT INTO "transfer" VALUES('txf_000sebvc3zr47s6mbj51gr5nw7','roll_back','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/reserved','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available',1000000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebv9e55fz5drkypnhevqtx','ada','its time was over',1790819640000783);
INSERT INTO "transfer" VALUES('txf_000sebvestarg3327bw7gctmww','late_commit','wallet/wal_000sebqkdkhm99wdvsq5zmmz0n/available','provider/unnamed',900000,'USD','wal_000sebqkdkhm99wdvsq5zmmz0n','res_000sebv9e55fz5drkypnhevqtx','ada','billed',1790819820000800);
INSERT INTO "transfer" VALUES('txf_000sebvhfmxcrpvxyzakfp4jy6','reserve','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebvhfmxcrwzg35kdg1fkxh','ada',NULL,1790820000000817);
INSERT INTO "transfer" VALUES('txf_000sebvsh4n9j0rbts1sfashyv','commit','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','provider/evolink',33000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebvhfmxcrwzg35kdg1fkxh','ada',NULL,1790820540000868);
INSERT INTO "transfer" VALUES('txf_000sebvsh4n9jamspjrzezegzg','return','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available',17000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebvhfmxcrwzg35kdg1fkxh','ada',NULL,1790820540000868);
INSERT INTO "transfer" VALUES('txf_000sebvw6z7xtydne67be8rf0t','reserve','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebvw6z7xtmh7jcg5em3g05','ada',NULL,1790820720000885);
INSERT INTO "transfer" VALUES('txf_000sebw48eztm8a39zyhdxde1f','commit','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','provider/evolink',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebvw6z7xtmh7jcg5em3g05','ada',NULL,1790821260000936);
INSERT INTO "transfer" VALUES('txf_000sebw6y9jeww2z1kcxd6qc2s','reserve','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebw6y9jewj6h5snqdj2d24','ada',NULL,1790821440000953);
INSERT INTO "transfer" VALUES('txf_000sebwezsabp5zcxd43cvcb3e','commit','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','provider/evolink',7000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebw6y9jewj6h5snqdj2d24','ada',NULL,1790821980001004);
INSERT INTO "transfer" VALUES('txf_000sebwezsabpfvts6v9cg1a43','return','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available',43000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebw6y9jewj6h5snqdj2d24','ada',NULL,1790821980001004);
INSERT INTO "transfer" VALUES('txf_000sebwhnkwzykmpgt9nbsb85d','reserve','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebwhnkwzysr8n0jfc4p94r','ada',NULL,1790822160001021);
INSERT INTO "transfer" VALUES('txf_000sebwmbefm77dj8dr1b2n66q','reserve','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebwmbefm7dh4cm0vbe0762','ada',NULL,1790822340001038);
INSERT INTO "transfer" VALUES('txf_000sebwwcy7h0ha047f7aqa57c','commit','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','provider/evolink',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebwmbefm7dh4cm0vbe0762','ada',NULL,1790822880001089);
INSERT INTO "transfer" VALUES('txf_000sebwwcy7h0v6e016dabz481','overrun','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','provider/evolink',30000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sebwmbefm7dh4cm0vbe0762','ada',NULL,1790822880001089);
INSERT INTO "transfer" VALUES('txf_000sfm4dt4t59ez9qmms9n929b','reserve','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sfm4dt4t5952vvtxka0m38p','ada',NULL,1793587860001106);
INSERT INTO "transfer" VALUES('txf_000sfm4gfzcshrvqkebz99y1a0','roll_back','wallet/wal_000sebqp3e48hkrvqkebz99y1a/reserved','wallet/wal_000sebqp3e48hkrvqkebz99y1a/available',50000000,'evolink-credit','wal_000sebqp3e48hkrvqkebz99y1a','res_000sfm4dt4t5952vvtxka0m38p','bob','cancelled',1793588040001123);
INSERT INTO "transfer" VALUES('txf_000sfm4k5szdtcmkb1tb8k7zba','reserve','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/available','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/reserved',3300000,'CNY','wal_000sebqrs8pwtdn9kd5hyxyx1z','res_000sfm4k5szdt2r5f8358yk0an','bob',NULL,1793588220001140);
INSERT INTO "transfer" VALUES('txf_000sfm4rhf4pb6h16vhh87wybz','roll_back','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/reserved','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/available',3300000,'CNY','wal_000sebqrs8pwtdn9kd5hyxyx1z','res_000sfm4k5szdt2r5f8358yk0an','bob','x',1793588580001174);
INSERT INTO "transfer" VALUES('txf_000sfm4v79qakt9wyezx7h6wd9','reserve','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/available','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/reserved',3300000,'CNY','wal_000sebqrs8pwtdn9kd5hyxyx1z','res_000sfm4v79qakgdf2n8q7whxcm','bob',NULL,1793588760001191);
INSERT INTO "transfer" VALUES('txf_000sfm538sf7d46at8q375vvdy','commit','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/reserved','provider/uniall',2200000,'CNY','wal_000sebqrs8pwtdn9kd5hyxyx1z','res_000sfm4v79qakgdf2n8q7whxcm','bob',NULL,1793589300001242);
INSERT INTO "transfer" VALUES('txf_000sfm538sf7de2rp2e96tgtek','return','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/reserved','wallet/wal_000sebqrs8pwtdn9kd5hyxyx1z/available',1100000,'CNY','wal_000sebqrs8pwtdn9kd5hyxyx1z','res_000sfm4v79qakgdf2n8q7whxcm','bob',NULL,1793589300001242);
CREATE TABLE wallet (
	id VARCHAR NOT NULL, 
	name VARCHAR NOT NULL, 
	unit VARCHAR NOT NULL, 
	funded_micro BIGINT NOT NULL, 
	posted_micro BIGINT NOT NULL, 
	reserved_micro BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT wallet_reserved_is_not_negative CHECK (reserved_micro >= 0), 
	CONSTRAINT wallet_posted_is_exact CHECK (posted_micro BETWEEN -9007199254740991 AND 9007199254740991), 
	UNIQUE (name)
);
INSERT INTO "wallet" VALUES('wal_000sebqkdkhm99wdvsq5zmmz0n','team','USD',20000001,16450001,3525000,1790811540000018);
INSERT INTO "wallet" VALUES('wal_000sebqp3e48hkrvqkebz99y1a','studio/east','evolink-credit',1000000000,830000000,50000000,1790811720000035);
INSERT INTO "wallet" VALUES('wal_000sebqrs8pwtdn9kd5hyxyx1z','kuai','CNY',100000000,97800000,0,1790811900000052);
INSERT INTO "wallet" VALUES('wal_000sebqvf39h2qhqf6wqyjkw2m','unused','USD',0,0,0,1790812080000069);
CREATE INDEX reservation_by_time ON reservation (created_at);
CREATE UNIQUE INDEX reservation_by_task ON reservation (provider, task_id);
CREATE INDEX ix_transfer_wallet_id ON transfer (wallet_id);
CREATE INDEX ix_transfer_reservation_id ON transfer (reservation_id);
CREATE INDEX reservation_open ON reservation (created_at) WHERE state IN ('reserved', 'submitting', 'submitted', 'in_doubt');
CREATE TRIGGER transfer_is_never_updated BEFORE UPDATE ON transfer BEGIN SELECT RAISE(ABORT, 'transfer is append-only: post a correction instead'); END;
CREATE TRIGGER transfer_is_never_deleted BEFORE DELETE ON transfer BEGIN SELECT RAISE(ABORT, 'transfer is append-only: post a correction instead'); END;
CREATE TRIGGER job_event_is_never_updated BEFORE UPDATE ON job_event BEGIN SELECT RAISE(ABORT, 'job_event is append-only: post a correction instead'); END;
CREATE TRIGGER job_event_is_never_deleted BEFORE DELETE ON job_event BEGIN SELECT RAISE(ABORT, 'job_event is append-only: post a correction instead'); END;
COMMIT;
