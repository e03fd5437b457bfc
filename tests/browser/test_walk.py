import pytest

from tests.browser.installation import chromium, demo_installation
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.slow


def test_a_visitor_of_the_demo_maps_a_file_runs_it_and_finds_out_about_refused_rows(tmp_path):
    with chromium() as browser, demo_installation(tmp_path) as demo:
        visitor = Visitor(browser, demo)
        visitor.log_in()
        visitor.test_the_connection()
        visitor.look_at_objects()
        visitor.map_the_second_file()
        visitor.run_it()
        visitor.open_a_refused_row()
        refused = visitor.download_the_refused_rows()
        # As the file was made: each 40th address and each 60th name is wrong.
        assert {row["External Id"] for row in refused} >= {"N00007", "N00047", "N00011", "N00071"}
        assert len(refused) == 17 and all(row["_error_message"] for row in refused)
        visitor.approve_the_deletes()
        visitor.preview_an_undo()
        visitor.preview_a_sync()
        assert {"/admin/", "/admin/jobs/job/N/rows/N/", "/admin/orgs/team/add/"} <= visitor.every_page()
        visitor.go("/api/v1/docs/")
        visitor.page.wait_for_load_state("networkidle")
        assert not visitor.watch.complaints, "\n".join(visitor.watch.complaints)
