"""Objects beside the recorded ones: what they take, what they work out, and what goes with a deleted parent."""

from __future__ import annotations

from tests.sandbox.conftest import Client


def test_products_are_sold_by_price_books_and_line_items(client: Client) -> None:
    (book,) = client.query("SELECT Id, Name FROM Pricebook2 WHERE IsStandard = true AND IsActive = true")
    product = client.create("Product2", Name="Lamp", ProductCode="L-1", IsActive=True)
    price = client.create("PricebookEntry", Pricebook2Id=book["Id"], Product2Id=product, UnitPrice=12.5, IsActive=True)
    account = client.create("Account", Name="Shop")
    deal = client.create("Opportunity", Name="Deal", StageName="Prospecting", CloseDate="2026-12-01", AccountId=account)
    line = {"PricebookEntryId": price, "Quantity": 4, "UnitPrice": 10}
    client.create("OpportunityLineItem", OpportunityId=deal, Discount=25, **line)
    fields = "Name, ProductCode, ListPrice, TotalPrice, PricebookEntry.Product2.Name"
    (sold,) = client.query(f"SELECT {fields} FROM OpportunityLineItem WHERE Opportunity.Account.Name = 'Shop'")
    assert [sold[each] for each in ("Name", "ProductCode", "ListPrice", "TotalPrice")] == ["Deal Lamp", "L-1", 12.5, 30]
    assert sold["PricebookEntry"]["Product2"]["Name"] == "Lamp"
    assert client.query("SELECT Name FROM PricebookEntry") == [{"Name": "Lamp"}]
    order = client.create("Order", AccountId=account, EffectiveDate="2026-11-01", Status="Draft")
    client.create("OrderItem", OrderId=order, **line)
    client.call("PATCH", f"/sobjects/Order/{order}", json={"PoNumber": "P1"}).raise_for_status()
    (found,) = client.query(
        "SELECT OrderNumber, StatusCode, TotalAmount, (SELECT TotalPrice FROM OrderItems) FROM Order"
    )
    assert (found["OrderNumber"], found["StatusCode"], found["TotalAmount"]) == ("00001000", "Draft", 40)
    assert found["OrderItems"]["records"][0]["TotalPrice"] == 40
    held = client.call("DELETE", f"/sobjects/Account/{account}")
    assert (held.status_code, held.json()[0]["errorCode"]) == (400, "DELETE_FAILED")
    client.call("DELETE", f"/sobjects/Opportunity/{deal}").raise_for_status()
    assert client.query("SELECT Id FROM OpportunityLineItem") == []


def test_people_are_members_attend_and_own(client: Client) -> None:
    contact, lead = client.create("Contact", LastName="Doe"), client.create("Lead", LastName="Roe", Company="R")
    campaign = client.create("Campaign", Name="Fair")
    client.create("CampaignMember", CampaignId=campaign, ContactId=contact, Status="Responded")
    client.create("CampaignMember", CampaignId=campaign, LeadId=lead)
    members = client.query(
        "SELECT LastName, Type, Status, HasResponded, LeadOrContactId FROM CampaignMember ORDER BY Type"
    )
    assert [list(each.values()) for each in members] == [
        ["Doe", "Contact", "Responded", True, contact],
        ["Roe", "Lead", "Sent", False, lead],
    ]
    client.create(
        "Event", WhoId=contact, Subject="Meeting", DurationInMinutes=30, ActivityDateTime="2026-11-23T10:00:00Z"
    )
    (event,) = client.query("SELECT Subject, Who.Name, ShowAs FROM Event")
    assert (event["Who"]["Name"], event["ShowAs"]) == ("Doe", "Busy")
    account = client.create("Account", Name="Home")
    client.create("Asset", Name="Boiler", AccountId=account)
    contract = client.create("Contract", AccountId=account, CustomerSignedId=contact, BillingCity="Ulm")
    answer = client.call("GET", f"/sobjects/Contract/{contract}").json()
    assert (answer["ContractNumber"], answer["StatusCode"]) == ("00001000", "Draft")
    assert answer["BillingAddress"]["city"] == "Ulm"
    queue = client.create("Group", Name="Night shift", DeveloperName="Night_Shift", Type="Queue")
    case = client.create("Case", Subject="Leak", OwnerId=queue)
    assert client.call("GET", f"/sobjects/Case/{case}?fields=OwnerId").json()["OwnerId"] == queue
    deal = client.create("Opportunity", Name="Deal", StageName="Prospecting", CloseDate="2026-12-01")
    client.create("OpportunityContactRole", OpportunityId=deal, ContactId=contact, Role="Evaluator", IsPrimary=True)
    assert client.query("SELECT (SELECT Contact.LastName FROM OpportunityContactRoles) FROM Opportunity")


def test_setup_objects_are_kept_as_setup_has_them(client: Client) -> None:
    top = client.create("UserRole", Name="CEO")
    client.create("UserRole", Name="Sales", ParentRoleId=top)
    assert client.query("SELECT ParentRole.Name FROM UserRole WHERE Name = 'Sales'")[0]["ParentRole"]["Name"] == "CEO"
    granted = client.create("PermissionSet", Name="Exports", Label="Exports")
    (user,) = client.query("SELECT Id FROM User LIMIT 1")
    client.create("PermissionSetAssignment", PermissionSetId=granted, AssigneeId=user["Id"])
    assert (
        client.query("SELECT PermissionSet.Name FROM PermissionSetAssignment")[0]["PermissionSet"]["Name"] == "Exports"
    )
    refused = client.call("POST", "/sobjects/AssignmentRule", json={"Name": "x"})
    assert refused.status_code in (400, 405)
    (org,) = client.query("SELECT Name, IsSandbox, OrganizationType, UiSkin, FiscalYearStartMonth FROM Organization")
    assert (org["IsSandbox"], org["OrganizationType"], org["FiscalYearStartMonth"]) == (True, "Developer Edition", 1)
