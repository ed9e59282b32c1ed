/** Made by `npm run gen` from docs/openapi.json. Never edited. */

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description Who did it. */
        Actor: {
            id?: string;
            kind: components["schemas"]["ActorKind"];
        };
        /** @enum {string} */
        ActorKind: "person" | "agent" | "engine" | "rule";
        Alive: {
            status: components["schemas"]["Health"];
        };
        /** @enum {string} */
        Archived: "false" | "true" | "all";
        /** @description A board with its columns, in their order. */
        Board: {
            /** @description Of a removal: it is out of sight. */
            deleted?: boolean;
            /** @description Of a removal: it is gone for good. */
            purged?: boolean;
            /** @description Of a write: the `seq` of the last event that it led to. */
            seq?: components["schemas"]["u64"];
        } & {
            /** Format: date-time */
            archived_at: string | null;
            columns: components["schemas"]["Column"][];
            /** Format: date-time */
            created_at: string;
            default_branch: string | null;
            description: string;
            /** @description The `seq` of its newest event. */
            head_seq: components["schemas"]["u64"];
            /** Format: uuid */
            id: string;
            /**
             * @description What its tasks are numbered with: the `KAN` of `KAN-12`.
             * @example KAN
             */
            key: string;
            /** @example Kanvoy */
            name: string;
            repository_url: string | null;
            settings: components["schemas"]["Settings"];
            /** Format: date-time */
            updated_at: string;
            /** Format: int64 */
            version: number;
        };
        Checked: {
            detail?: string | null;
            status: components["schemas"]["Health"];
        };
        Column: {
            /** Format: uuid */
            id: string;
            /** @example In progress */
            name: string;
            /** @description The states that its cards may be in; the first is what a card takes on that is moved here. */
            states: components["schemas"]["State"][];
            /** Format: int32 */
            wip_limit: number | null;
        };
        /** @description The answer to a write of a column. */
        ColumnWritten: components["schemas"]["Column"] & {
            /** Format: uuid */
            board_id: string;
            seq: components["schemas"]["u64"];
            /**
             * Format: int64
             * @description The board's: its columns are part of it.
             */
            version: number;
        };
        /**
         * @description What a new board is told. Without a key it gets one made from its name.
         * @example {
         *       "name": "Kanvoy",
         *       "repository_url": "https://github.com/user/repo"
         *     }
         */
        CreateBoard: {
            default_branch?: string | null;
            description?: string | null;
            /** @description 2 to 10 capital letters or digits, a letter first. Never used twice. */
            key?: string | null;
            name: string;
            repository_url?: string | null;
        };
        /**
         * @example {
         *       "name": "Waiting for release",
         *       "position": 4,
         *       "states": [
         *         "COMPLETED"
         *       ]
         *     }
         */
        CreateColumn: {
            name: string;
            /**
             * Format: int32
             * @description Its place among the columns, from 0; the end when left out.
             */
            position?: number | null;
            states: components["schemas"]["State"][];
            /** Format: int32 */
            wip_limit?: number | null;
        };
        /**
         * @description What a new task is told. It begins ready (`TODO`) or parked (`BACKLOG`).
         * @example {
         *       "labels": [
         *         "parser"
         *       ],
         *       "priority": "high",
         *       "title": "Teach the parser about tabs"
         *     }
         */
        CreateTask: {
            agent_type?: string | null;
            /** @description Tasks of the same board that must be done first. */
            blocked_by?: string[] | null;
            branch?: string | null;
            description?: string | null;
            /** @description Unique on its board. */
            external_ref?: string | null;
            labels?: string[] | null;
            /** Format: uuid */
            parent_id?: string | null;
            priority?: components["schemas"]["Priority"] | null;
            repository_url?: string | null;
            state?: components["schemas"]["State"] | null;
            title: string;
        };
        /** @description Of `board.created`: the board as it was made. */
        DataBoardCreated: {
            board: unknown;
        };
        /** @description Of `board.deleted`, in the board's log and in the system's. */
        DataBoardDeleted: {
            /** Format: uuid */
            id: string;
            key: string;
            name: string;
            purged: boolean;
        };
        /** @description Of `board.imported`: what the file held. */
        DataBoardImported: {
            /** Format: int64 */
            events: number;
            key: string;
            /** Format: int64 */
            tasks: number;
        };
        /** @description Of `board.pruned`: what retention removed. */
        DataBoardPruned: {
            /** Format: int64 */
            from: number;
            /** Format: int64 */
            to: number;
        };
        /** @description Of `daemon.started`. */
        DataDaemonStarted: {
            version: string;
        };
        /** @description Of `stream.gap`: what is no longer there to be shown, both ends included. */
        DataStreamGap: {
            /** Format: int64 */
            from: number;
            /** @example retention */
            reason: string;
            /** Format: int64 */
            to: number;
        };
        /** @description Of `stream.ready`: where the log, or every log, stands. */
        DataStreamReady: {
            cursor?: string;
            /** Format: int64 */
            head_seq?: number;
        };
        /** @description Of `task.created`: the task as it was made. */
        DataTaskCreated: {
            task: unknown;
        };
        /** @description Of `task.deleted` and `task.purged`. */
        DataTaskDeleted: {
            /** Format: int64 */
            number: number;
            purged: boolean;
        };
        /** @description Of `task.state_changed`. */
        DataTaskStateChanged: {
            /** Format: uuid */
            column_id: string;
            from: components["schemas"]["State"];
            rank: string;
            reason: string;
            to: components["schemas"]["State"];
            /** Format: int64 */
            version: number;
        };
        /** @description Of `board.updated` and `task.updated`: the fields that changed, with their new values. */
        DataUpdated: {
            changed: unknown;
            /** Format: int64 */
            version: number;
        };
        /**
         * @description What changes; what is left out stays, and null clears.
         * @example {
         *       "name": "Kanvoy 2",
         *       "settings": {
         *         "review": "person"
         *       },
         *       "version": 3
         *     }
         */
        EditBoard: {
            /** @description True archives, false takes back. */
            archived?: boolean;
            default_branch?: string | null;
            description?: string;
            name?: string;
            repository_url?: string | null;
            settings?: components["schemas"]["EditSettings"];
            /**
             * Format: int64
             * @description The version that the change was made of; a stale one is refused.
             */
            version?: number;
        };
        /**
         * @description What changes; what is left out stays, and null clears.
         * @example {
         *       "wip_limit": 3
         *     }
         */
        EditColumn: {
            name?: string;
            /** Format: int32 */
            position?: number;
            states?: components["schemas"]["State"][];
            /**
             * Format: int64
             * @description The board's version that the change was made of; a stale one is refused.
             */
            version?: number;
            /** Format: int32 */
            wip_limit?: number | null;
        };
        EditRetention: {
            /** Format: int32 */
            max_age_days?: number | null;
            /** Format: int64 */
            max_events?: number | null;
        };
        /** @description What changes of the settings; what is left out stays, and null clears. */
        EditSettings: {
            default_agent_type?: string | null;
            planner?: string | null;
            retention?: components["schemas"]["EditRetention"];
            review?: components["schemas"]["Review"];
            verify?: boolean;
        };
        /**
         * @description What changes; what is left out stays, and null clears.
         * @example {
         *       "agent_type": null,
         *       "priority": "urgent",
         *       "version": 7
         *     }
         */
        EditTask: {
            agent_type?: string | null;
            /** @description True archives, false takes back. */
            archived?: boolean;
            blocked_by?: string[];
            branch?: string | null;
            description?: string;
            external_ref?: string | null;
            labels?: string[];
            /** Format: uuid */
            parent_id?: string | null;
            priority?: components["schemas"]["Priority"];
            repository_url?: string | null;
            title?: string;
            /**
             * Format: int64
             * @description The version that the change was made of; a stale one is refused.
             */
            version?: number;
        };
        /**
         * @description Something that happened. `data` depends on `type`: see the schemas whose names begin with `Data`.
         * @example {
         *       "actor": {
         *         "id": "local",
         *         "kind": "person"
         *       },
         *       "board_id": "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a111",
         *       "data": {
         *         "column_id": "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a333",
         *         "from": "TODO",
         *         "rank": "n",
         *         "reason": "moved",
         *         "to": "IN_PROGRESS",
         *         "version": 2
         *       },
         *       "seq": 118,
         *       "task_id": "01934c4e-6d3a-7c3e-9a41-6a5bd0a4a222",
         *       "timestamp": "2026-11-20T07:00:00.123Z",
         *       "type": "task.state_changed"
         *     }
         */
        Event: {
            actor?: components["schemas"]["Actor"];
            /** @description The instance that it came from. */
            agent_id?: string;
            /**
             * Format: uuid
             * @description The log it is in; absent in the system's.
             */
            board_id?: string;
            /**
             * Format: int64
             * @description The `seq`, in the same log, of what led to this.
             */
            cause?: number;
            data: unknown;
            /** Format: uuid */
            run_id?: string;
            /**
             * Format: int64
             * @description Its place in its log, from 1 and without holes. `stream.ready`, which begins a stream and is no event, has none.
             */
            seq: number;
            /** Format: uuid */
            task_id?: string;
            /** Format: date-time */
            timestamp: string;
            /**
             * @description More may come: pass over those that you do not know.
             * @example task.created
             */
            type: string;
        };
        /** @description Why a task failed. */
        Failure: {
            code: string;
            detail: string;
            /** Format: int64 */
            exit_code?: number;
            oom?: boolean;
            stderr_tail?: string;
        };
        FieldProblem: {
            detail: string;
            /**
             * @description RFC 6901.
             * @example /title
             */
            pointer: string;
        };
        /** @enum {string} */
        Health: "ok" | "degraded" | "failed";
        HindranceView: {
            detail: string;
            /** Format: int64 */
            number: number;
        };
        /** @description A page of a list. */
        List_Board: {
            items: ({
                /** @description Of a removal: it is out of sight. */
                deleted?: boolean;
                /** @description Of a removal: it is gone for good. */
                purged?: boolean;
                /** @description Of a write: the `seq` of the last event that it led to. */
                seq?: components["schemas"]["u64"];
            } & {
                /** Format: date-time */
                archived_at: string | null;
                columns: components["schemas"]["Column"][];
                /** Format: date-time */
                created_at: string;
                default_branch: string | null;
                description: string;
                /** @description The `seq` of its newest event. */
                head_seq: components["schemas"]["u64"];
                /** Format: uuid */
                id: string;
                /**
                 * @description What its tasks are numbered with: the `KAN` of `KAN-12`.
                 * @example KAN
                 */
                key: string;
                /** @example Kanvoy */
                name: string;
                repository_url: string | null;
                settings: components["schemas"]["Settings"];
                /** Format: date-time */
                updated_at: string;
                /** Format: int64 */
                version: number;
            })[];
            /** @description Ask for the next page with `cursor=` this; null on the last page. */
            next_cursor: string | null;
        };
        /** @description A page of a list. */
        List_Event: {
            items: {
                actor?: components["schemas"]["Actor"];
                /** @description The instance that it came from. */
                agent_id?: string;
                /**
                 * Format: uuid
                 * @description The log it is in; absent in the system's.
                 */
                board_id?: string;
                /**
                 * Format: int64
                 * @description The `seq`, in the same log, of what led to this.
                 */
                cause?: number;
                data: unknown;
                /** Format: uuid */
                run_id?: string;
                /**
                 * Format: int64
                 * @description Its place in its log, from 1 and without holes. `stream.ready`, which begins a stream and is no event, has none.
                 */
                seq: number;
                /** Format: uuid */
                task_id?: string;
                /** Format: date-time */
                timestamp: string;
                /**
                 * @description More may come: pass over those that you do not know.
                 * @example task.created
                 */
                type: string;
            }[];
            /** @description Ask for the next page with `cursor=` this; null on the last page. */
            next_cursor: string | null;
        };
        /** @description A page of a list. */
        List_Task: {
            items: ({
                /** @description Of a removal: it is out of sight. */
                deleted?: boolean;
                /** @description Of a removal: it is gone for good. */
                purged?: boolean;
                /** @description Of a write: the `seq` of the last event that it led to. */
                seq?: components["schemas"]["u64"];
            } & {
                agent_type: string | null;
                /** Format: date-time */
                archived_at: string | null;
                /** Format: int32 */
                attempts: number;
                /** @description The tasks that must be done first. */
                blocked_by: string[];
                /** Format: uuid */
                board_id: string;
                branch: string | null;
                /** Format: uuid */
                column_id: string;
                /** Format: date-time */
                created_at: string;
                /** Format: uuid */
                current_run_id: string | null;
                description: string;
                external_ref: string | null;
                failure: components["schemas"]["Failure"] | null;
                /** Format: uuid */
                id: string;
                labels: string[];
                live: components["schemas"]["Live"];
                /**
                 * Format: int64
                 * @description The `12` of `KAN-12`.
                 * @example 12
                 */
                number: number;
                /** Format: int32 */
                open_requests: number;
                /** Format: uuid */
                parent_id: string | null;
                priority: components["schemas"]["Priority"];
                /** @description Its place in the column: cards lie in the order of this text, then of their numbers. */
                rank: string;
                repository_url: string | null;
                state: components["schemas"]["State"];
                /** @example Teach the parser about tabs */
                title: string;
                /** Format: date-time */
                updated_at: string;
                /** Format: int64 */
                version: number;
                /** @description Why nobody is at work on it, in the order in which one would mend it. */
                waiting: components["schemas"]["Reason"][];
            })[];
            /** @description Ask for the next page with `cursor=` this; null on the last page. */
            next_cursor: string | null;
        };
        /** @description What a card shows while an agent is at work on it. */
        Live: {
            /** Format: double */
            cost: number | null;
            note: string | null;
            /** Format: double */
            percent: number | null;
        };
        LoginLink: {
            /** Format: date-time */
            expires_at: string;
            /**
             * @description Open it once, in a browser.
             * @example http://127.0.0.1:8080/login/uU0nuZNNPgilLlLX2n2r-sSE7-N6U4DukIj3rOLvzek
             */
            url: string;
        };
        /** @description Somebody who is logged in. */
        Me: {
            /**
             * Format: date-time
             * @description When this login ends by itself; null for a token.
             */
            expires_at: string | null;
            /** @example local */
            id: string;
            name: string;
            role: components["schemas"]["Role"];
        };
        /**
         * @description Where the card is dropped: in a column, and there before or after another card, or at the end.
         * @example {
         *       "column_id": "0193452c-7a7b-7cc4-8a4e-0a4b2c3d4e5f"
         *     }
         */
        MoveCard: {
            /** Format: uuid */
            after?: string | null;
            /** Format: uuid */
            before?: string | null;
            /** Format: uuid */
            column_id?: string | null;
            /** Format: int64 */
            version?: number | null;
        };
        /** @description Takes nothing, or an object without anything in it. */
        Nothing: Record<string, never>;
        /** @enum {string} */
        Order: "oldest" | "newest" | "updated" | "lie";
        /** @enum {string} */
        Priority: "urgent" | "high" | "normal" | "low";
        /** @description An RFC 9457 problem document. */
        Problem: {
            /**
             * @description Stable: branch on this.
             * @example not_found
             */
            code: string;
            current_version?: components["schemas"]["u64"] | null;
            /** @description What is wrong here and now, and what to do about it. */
            detail: string;
            /** @description The parameter, header or field that it is about. */
            field?: string | null;
            /** @description Where in the body, as JSON pointers. */
            fields?: components["schemas"]["FieldProblem"][];
            /** @description What stands in the way. */
            hindrances?: components["schemas"]["HindranceView"][];
            /** @description The states that the task can be moved to instead. */
            legal?: components["schemas"]["State"][] | null;
            /** @description The way round of a dependency cycle, as task numbers. */
            path?: string[];
            /**
             * Format: int32
             * @description Seconds after which it is worth trying again.
             */
            retry_after?: number | null;
            /**
             * Format: int32
             * @example 404
             */
            status: number;
            /** @description The same for every problem of this code. */
            title: string;
            /** @description A command that mends it. */
            try?: string | null;
            /** @example https://kanvoy.dev/problems/not_found */
            type: string;
        };
        Readiness: {
            checks: {
                [key: string]: components["schemas"]["Checked"];
            };
            status: components["schemas"]["Health"];
        };
        /** @description A code to branch on and a sentence to read. */
        Reason: {
            /** @example blocked */
            code: string;
            detail: string;
        };
        /** @description How much of the log is kept. Null keeps everything. */
        Retention: {
            /** Format: int32 */
            max_age_days: number | null;
            /** Format: int64 */
            max_events: number | null;
        };
        /** @enum {string} */
        Review: "nobody" | "person";
        /** @enum {string} */
        Role: "admin";
        /**
         * @example {
         *       "reason": "started by hand",
         *       "state": "IN_PROGRESS"
         *     }
         */
        SetState: {
            reason?: string | null;
            state: components["schemas"]["State"];
            /** Format: int64 */
            version?: number | null;
        };
        /** @description How a board behaves. */
        Settings: {
            /** @description The agent type that a new card is offered with. */
            default_agent_type: string | null;
            /** @description The agent type that plans. */
            planner: string | null;
            retention: components["schemas"]["Retention"];
            /** @description Who looks at work before it is done. */
            review: components["schemas"]["Review"];
            verify: boolean;
        };
        /**
         * @description Where a task stands.
         * @enum {string}
         */
        State: "BACKLOG" | "TODO" | "PLANNING" | "IN_PROGRESS" | "REVIEW" | "VERIFY" | "COMPLETED" | "FAILED" | "CANCELLED";
        /** @description A piece of work. */
        Task: {
            /** @description Of a removal: it is out of sight. */
            deleted?: boolean;
            /** @description Of a removal: it is gone for good. */
            purged?: boolean;
            /** @description Of a write: the `seq` of the last event that it led to. */
            seq?: components["schemas"]["u64"];
        } & {
            agent_type: string | null;
            /** Format: date-time */
            archived_at: string | null;
            /** Format: int32 */
            attempts: number;
            /** @description The tasks that must be done first. */
            blocked_by: string[];
            /** Format: uuid */
            board_id: string;
            branch: string | null;
            /** Format: uuid */
            column_id: string;
            /** Format: date-time */
            created_at: string;
            /** Format: uuid */
            current_run_id: string | null;
            description: string;
            external_ref: string | null;
            failure: components["schemas"]["Failure"] | null;
            /** Format: uuid */
            id: string;
            labels: string[];
            live: components["schemas"]["Live"];
            /**
             * Format: int64
             * @description The `12` of `KAN-12`.
             * @example 12
             */
            number: number;
            /** Format: int32 */
            open_requests: number;
            /** Format: uuid */
            parent_id: string | null;
            priority: components["schemas"]["Priority"];
            /** @description Its place in the column: cards lie in the order of this text, then of their numbers. */
            rank: string;
            repository_url: string | null;
            state: components["schemas"]["State"];
            /** @example Teach the parser about tabs */
            title: string;
            /** Format: date-time */
            updated_at: string;
            /** Format: int64 */
            version: number;
            /** @description Why nobody is at work on it, in the order in which one would mend it. */
            waiting: components["schemas"]["Reason"][];
        };
        Ticket: {
            /** Format: date-time */
            expires_at: string;
            /** @description Append it to a stream's address as `?ticket=`. */
            ticket: string;
        };
        /** Format: int64 */
        u64: number;
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
